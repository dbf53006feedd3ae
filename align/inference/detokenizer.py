"""Turning a sequence's tokens into text as they come, stop strings included. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[list[int]], str]

#: Tokens between two places from which decoding may start again.
STRIDE = 4
#: What a decoder shows for bytes that are no whole character yet.
HALF = "\ufffd"


class TextStream:
    """The text of one completion, released as soon as it is final.

    Held back: half a character (the decoder shows it as U+FFFD) and any end that could still
    become a stop string. With `lazy` all text comes at the end; stop strings are not looked for.

    Each token decodes only the last few: from a place at which the text was whole, and which lies
    before text already released, since some decoders strip the space in front of what they get.
    """

    def __init__(self, decode: Decode, stop: Sequence[str], lazy: bool = False):
        self._decode, self._stop, self._lazy = decode, [one for one in stop if one], lazy
        self._tokens: list[int] = []
        self._start = self._whole = 0  # decode from here; the next such place
        self._shown = 0  # characters of what is decoded from there that `text` has
        self._half = ""
        self._released = 0
        self.text = ""
        self.stopped = False

    def add(self, token: int, may_stop: bool = True) -> str:
        """Take one token; the text that became final with it. Sets `stopped` at a stop string.

        With `may_stop` False a stop string that this token completes is text like any other.
        """
        self._tokens.append(token)
        if self._lazy:
            return ""
        before = len(self.text)
        self._extend()
        if may_stop:
            self._cut(before)
        return self._release(len(self.text) - (0 if self.stopped else self._doubtful()))

    def finish(self) -> str:
        """What was still held back when the completion ended."""
        if self._lazy:
            self.text = self._decode(self._tokens)
        elif not self.stopped:
            self.text += self._half
            self._half = ""
        return self._release(len(self.text))

    def _extend(self) -> None:
        decoded = self._decode(self._tokens[self._start :])
        whole = decoded.rstrip(HALF)
        fresh, self._half = whole[self._shown :], decoded[max(self._shown, len(whole)) :]
        self.text += fresh
        self._shown = max(self._shown, len(whole))
        if fresh and not self._half and len(self._tokens) - self._whole >= STRIDE:
            self._start, self._whole = self._whole, len(self._tokens)
            self._shown = len(self._decode(self._tokens[self._start :]))

    def _cut(self, before: int) -> None:
        """End the text at the stop string that is complete first behind `before` characters."""
        starts = [(self.text.find(one, max(0, before - len(one) + 1)), one) for one in self._stop]
        found = [(at + len(one), at) for at, one in starts if at >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)[1]], True

    def _release(self, end: int) -> str:
        fresh = self.text[self._released : end]
        self._released = max(self._released, end)
        return fresh

    def _doubtful(self) -> int:
        """How many of the last characters could be the beginning of a stop string."""
        return max((_overlap(self.text, one) for one in self._stop), default=0)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with, less than all of `stop`."""
    at = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while at >= 0 and not stop.startswith(text[at:]):
        at = text.find(stop[0], at + 1)
    return len(text) - at if at >= 0 else 0
