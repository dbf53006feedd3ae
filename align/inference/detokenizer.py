"""Incremental detokenization of a sequence, with stop strings. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[list[int]], str]

#: Minimum number of tokens between two positions at which decoding can restart.
STRIDE = 4
#: What a decoder returns for the bytes of an incomplete character (U+FFFD).
HALF = "\ufffd"


class TextStream:
    """The text of a completion, released as soon as it is final.

    An incomplete character (decoded as U+FFFD) and a suffix that could still become a stop string
    are held back. With `lazy` all text is returned at the end and stop strings are ignored.

    Adding a token decodes only the last few tokens. Decoding starts at a character boundary that
    precedes text already released, since some decoders strip leading spaces from their input.
    """

    def __init__(self, decode: Decode, stop: Sequence[str], lazy: bool = False):
        self._decode, self._stop, self._lazy = decode, [string for string in stop if string], lazy
        self._tokens: list[int] = []
        self._start = self._whole = 0  # decoding starts here; the next start
        self._shown = 0  # decoded characters from `_start` on that are already in `text`
        self._half = ""
        self._released = 0
        self.text = ""
        self.stopped = False

    def add(self, token: int, may_stop: bool = True) -> str:
        """Add a token and return the text that became final. Sets `stopped` at a stop string.

        With `may_stop` False a stop string that this token completes is treated as ordinary text.
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
        """Return the text that was still held back when the completion ended."""
        if self._lazy:
            self.text = self._decode(self._tokens)
        elif not self.stopped:
            self.text += self._half
            self._half = ""
        return self._release(len(self.text))

    def _extend(self) -> None:
        decoded = self._decode(self._tokens[self._start :])
        complete = decoded.rstrip(HALF)
        new, self._half = complete[self._shown :], decoded[max(self._shown, len(complete)) :]
        self.text += new
        self._shown = max(self._shown, len(complete))
        if new and not self._half and len(self._tokens) - self._whole >= STRIDE:
            self._start, self._whole = self._whole, len(self._tokens)
            self._shown = len(self._decode(self._tokens[self._start :]))

    def _cut(self, before: int) -> None:
        """Cut the text at the first stop string that is completed after `before` characters."""
        starts = [
            (self.text.find(stop, max(0, before - len(stop) + 1)), stop) for stop in self._stop
        ]
        matches = [(start + len(stop), start) for start, stop in starts if start >= 0]
        if matches:
            self.text, self.stopped = self.text[: min(matches)[1]], True

    def _release(self, end: int) -> str:
        text = self.text[self._released : end]
        self._released = max(self._released, end)
        return text

    def _doubtful(self) -> int:
        """Number of trailing characters that could be the beginning of a stop string."""
        return max((_overlap(self.text, stop) for stop in self._stop), default=0)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of `text` that is a proper prefix of `stop`."""
    start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while start >= 0 and not stop.startswith(text[start:]):
        start = text.find(stop[0], start + 1)
    return len(text) - start if start >= 0 else 0
