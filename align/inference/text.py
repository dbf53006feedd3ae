"""Turning a row's tokens into text as they come, stop strings included. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[list[int]], str]


class TextStream:
    """The text of one row, released as soon as it is final.

    Held back: half a character (the decoder shows it as U+FFFD) and any end that could still
    become a stop string.
    """

    def __init__(self, decode: Decode, stop: Sequence[str]):
        self._decode, self._stop = decode, [one for one in stop if one]
        self._tokens: list[int] = []
        self._released = 0
        self.text = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """Take one token; the text that became final with it. Sets `stopped` at a stop string."""
        self._tokens.append(token)
        self.text = self._decode(self._tokens)
        found = [at for at in (self.text.find(one) for one in self._stop) if at >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True
            return self._release(len(self.text))
        return self._release(len(self.text) - self._doubtful())

    def finish(self) -> str:
        """What was still held back when the row ended."""
        return self._release(len(self.text))

    def _release(self, end: int) -> str:
        fresh = self.text[self._released : end]
        self._released = max(self._released, end)
        return fresh

    def _doubtful(self) -> int:
        half = len(self.text) - len(self.text.rstrip("\ufffd"))
        longest = max((len(one) - 1 for one in self._stop), default=0)
        for size in range(min(longest, len(self.text)), 0, -1):
            if any(one.startswith(self.text[-size:]) for one in self._stop):
                return max(half, size)
        return half
