"""Incremental detokenization of a sequence, with stop strings. Imports no torch."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from align.inference.token_bytes import TextBytes


class TextStream:
    """The text of a completion, released as soon as it is final.

    The bytes of an incomplete character and a suffix that could still become a stop string are held
    back; at the end an incomplete character becomes U+FFFD. With `lazy` all text is returned at the
    end and stop strings are ignored.
    """

    def __init__(self, raw: TextBytes, stop: Sequence[str], lazy: bool = False):
        self._raw, self._stop, self._lazy = raw, [string for string in stop if string], lazy
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._tokens: list[int] = []  # that are not decoded yet; with `lazy` only
        self._released = 0
        self.text = ""
        self.stopped = False

    def add(self, token: int, may_stop: bool = True) -> str:
        """Add a token and return the text that became final. Sets `stopped` at a stop string.

        With `may_stop` False a stop string that this token completes is treated as ordinary text.
        """
        if self._lazy:
            self._tokens.append(token)
            return ""
        before = len(self.text)
        self.text += self._decoder.decode(self._raw.add(token))
        if may_stop:
            self._cut(before)
        return self._release(len(self.text) - (0 if self.stopped else self._doubtful()))

    def finish(self) -> str:
        """Return the text that was still held back when the completion ended."""
        if not self.stopped:
            rest = b"".join([self._raw.add(token) for token in self._tokens])
            self.text += self._decoder.decode(rest + self._raw.finish(), final=True)
        return self._release(len(self.text))

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
