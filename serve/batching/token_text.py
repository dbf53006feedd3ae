"""The bytes of tokens, and each token's position in its row's text."""

from __future__ import annotations

import codecs
import re
from typing import Any, Protocol

from align.inference.types import Completion
from serve.batching.jobs import TokenLogprob

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_characters() -> dict[str, int]:
    """The byte of each character in byte-level BPE (as in GPT-2's encoder)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    characters = {chr(byte): byte for byte in printable}
    return characters | {chr(0x100 + index): byte for index, byte in enumerate(others)}


_BYTES = _byte_characters()


class Vocabulary(Protocol):
    """The base's tokens."""

    def encode(self, text: str) -> list[int]:
        """The ids of plain text."""
        ...

    def raw(self, token: int) -> bytes:
        """The UTF-8 bytes of a token; empty for an id that no token has."""
        ...

    def silent(self, token: int) -> bool:
        """Whether the token is not shown in a text (for example the end of a turn)."""
        ...

    def stripped(self, token: int) -> int:
        """The number of the token's characters that are dropped at the beginning of a text."""
        ...


class TokenizerVocabulary:
    """The `Vocabulary` of a transformers tokenizer: BPE over bytes, or SentencePiece."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        pieces = tokenizer.get_vocab().keys()
        self._byte_level = "▁" not in pieces and _BYTES.keys() <= pieces
        self._raw: dict[int, bytes] = {}

    def encode(self, text: str) -> list[int]:
        """See `Vocabulary`."""
        return list(self._tokenizer(text)["input_ids"])

    def raw(self, token: int) -> bytes:
        """See `Vocabulary`."""
        raw = self._raw.get(token)
        if raw is None:
            raw = self._raw[token] = self._bytes(token)
        return raw

    def silent(self, token: int) -> bool:
        """See `Vocabulary`."""
        return token in self._special

    def stripped(self, token: int) -> int:
        """See `Vocabulary`. SentencePiece's decoders drop the space at a text's beginning."""
        spaced = self.raw(token).startswith(b" ")
        return int(spaced and not str(self._tokenizer.decode([token])).startswith(" "))

    def _bytes(self, token: int) -> bytes:
        piece: str | None = self._tokenizer.convert_ids_to_tokens(token)
        if piece is None:  # models are often padded beyond their tokenizer's vocabulary
            return b""
        if self._byte_level:
            encoded = all(character in _BYTES for character in piece)
            return bytes(_BYTES[character] for character in piece) if encoded else piece.encode()
        if (byte := _BYTE.fullmatch(piece)) is not None:
            return bytes([int(byte[1], 16)])
        return piece.replace("▁", " ").encode()


class Spelling:
    """The tokens of a completion with their log-probabilities, as they are generated."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._tokens: list[TokenLogprob] = []
        self._ends: list[int] = []  # each token's end in the text, in characters
        self._given = 0

    def extend(self, completion: Completion) -> None:
        """Add the completion's new tokens. They do not include the token that ended it."""
        new = slice(len(self._tokens), len(completion.token_ids))
        for token, entry in zip(completion.token_ids[new], completion.logprobs[new], strict=True):
            raw = self._vocabulary.raw
            start = self._ends[-1] if self._ends else -self._vocabulary.stripped(token)
            top = tuple((raw(candidate), logprob) for candidate, logprob in entry.top)
            self._tokens.append(TokenLogprob(raw(token), entry.logprob, max(start, 0), top))
            shown = b"" if self._vocabulary.silent(token) else raw(token)
            self._ends.append(start + len(self._decoder.decode(shown)))

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
            while end > self._given and self._tokens[end - 1].offset >= len(completion.text):
                end -= 1
        return self._give(end)

    def _give(self, end: int) -> tuple[TokenLogprob, ...]:
        tokens, self._given = tuple(self._tokens[self._given : end]), end
        return tokens
