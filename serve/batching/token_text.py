"""The bytes of tokens, and each token's position in its row's text."""

from __future__ import annotations

import codecs
from typing import Protocol

from align.inference.token_bytes import TextBytes, TokenBytes
from align.inference.types import Completion
from serve.batching.jobs import TokenLogprob


class Vocabulary(Protocol):
    """The base's tokens."""

    def encode(self, text: str) -> list[int]:
        """The ids of plain text."""
        ...

    def begin(self) -> TextBytes:
        """The bytes of a new text, token by token."""
        ...

    def shows(self, token: int) -> bool:
        """Whether a text shows this token. It does not show, for example, the end of a turn."""
        ...

    def name(self, token: int) -> bytes:
        """The name of a token that a text does not show; empty for an id that no token has."""
        ...


class TokenizerVocabulary(TokenBytes):
    """The `Vocabulary` of a transformers tokenizer."""

    def encode(self, text: str) -> list[int]:
        """See `Vocabulary`."""
        return list(self._tokenizer(text)["input_ids"])


class Spelling:
    """The tokens of a completion with their log-probabilities, as they are generated.

    A token that the text does not show has the bytes of its name, and stands where it would be.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._text = vocabulary.begin()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = 0  # decoded so far, without an incomplete character
        self._tokens: list[TokenLogprob] = []
        self._ends: list[int] = []  # each token's end in the text, in characters
        self._given = 0

    def extend(self, completion: Completion) -> None:
        """Add the completion's new tokens. They do not include the token that ended it."""
        new = slice(len(self._tokens), len(completion.token_ids))
        for token, entry in zip(completion.token_ids[new], completion.logprobs[new], strict=True):
            top = tuple((self._raw(candidate), logprob) for candidate, logprob in entry.top)
            raw = self._raw(token)
            offset, end = self._place(self._text.add(token))
            self._tokens.append(TokenLogprob(raw, entry.logprob, offset, top))
            self._ends.append(end)

    def settled(self, characters: int) -> tuple[TokenLogprob, ...]:
        """New tokens that end within the first `characters` of the text; each is returned once."""
        end = self._given
        while end < len(self._ends) and self._ends[end] <= characters:
            end += 1
        return self._give(end)

    def rest(self, completion: Completion) -> tuple[TokenLogprob, ...]:
        """The remaining tokens of the finished text, without those of a stop string."""
        end = len(self._tokens)
        if completion.finish_reason == "stop" and completion.ended is None:
            length = len(completion.text)
            while end > self._given and self._is_behind(end - 1, length):
                end -= 1
        return self._give(end)

    def _is_behind(self, index: int, characters: int) -> bool:
        """Whether a token is wholly behind the first `characters` of the text."""
        return self._tokens[index].offset >= characters and self._ends[index] > characters

    def _raw(self, token: int) -> bytes:
        """The bytes of a token that comes next."""
        raw = self._text.peek(token)
        return raw if raw or self._vocabulary.shows(token) else self._vocabulary.name(token)

    def _place(self, shown: bytes) -> tuple[int, int]:
        """Where the next bytes begin and end in the text, with incomplete bytes as U+FFFD."""
        pending = self._decoder.getstate()[0]
        offset = self._characters
        if shown and _length(pending + shown[:1]) > _length(pending):  # a new character begins
            offset += _length(pending)
        self._characters += len(self._decoder.decode(shown))
        return offset, self._characters + _length(self._decoder.getstate()[0])

    def _give(self, end: int) -> tuple[TokenLogprob, ...]:
        tokens, self._given = tuple(self._tokens[self._given : end]), end
        return tokens


def _length(incomplete: bytes) -> int:
    """The number of characters that show these bytes at the end of a text.

    Two bytes that begin a surrogate, such as ED B2, are two characters: they cannot be completed,
    but Python's incremental decoder waits for the byte that follows.
    """
    return len(incomplete.decode(errors="replace"))
