"""The bytes that each token adds to a text. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from align.inference.decoder_rules import DecoderRules, decoder_rules

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Decode = Callable[[Sequence[int]], str]

#: Minimum number of tokens between two positions at which decoding can restart.
_STRIDE = 4
#: What a decoder returns for the bytes of an incomplete character (U+FFFD).
_REPLACEMENT = "\ufffd"


class TextBytes(Protocol):
    """The UTF-8 bytes of a text, token by token. Tokens that a text does not show have none."""

    def peek(self, token: int) -> bytes:
        """The bytes that this token would add now, maybe only a part of a character."""
        ...

    def add(self, token: int) -> bytes:
        """Add a token and return its bytes, which are those that `peek` returns for it."""
        ...

    def finish(self) -> bytes:
        """The bytes at the end of the text that belong to no token."""
        ...


class TokenBytes:
    """The bytes of a tokenizer's tokens.

    They are exact where the tokenizer's decoder spells each piece by itself (see `DecoderRules`).
    For other tokenizers, a token has the characters that it completes in the decoded text.
    """

    def __init__(self, tokenizer: Any) -> None:
        from transformers import PreTrainedTokenizerFast

        self._tokenizer = tokenizer
        is_fast = isinstance(tokenizer, PreTrainedTokenizerFast)
        self._rules = _rules_of(tokenizer) if is_fast else None
        self._is_fast = is_fast
        self._spelled: tuple[dict[int, bytes], dict[int, bytes]] = {}, {}  # later, first in a text

    def begin(self) -> TextBytes:
        """The bytes of a new text."""
        if self._rules is None:
            return DecodedBytes(self._decode)
        return _SpelledBytes(self, self._rules)

    def shows(self, token: int) -> bool:
        """Whether a text shows this token: it exists and is not special, as ends of turns are."""
        return token not in self._special and self._piece(token) is not None

    def name(self, token: int) -> bytes:
        """The tokenizer's name of a token that a text does not show; empty if it does not exist."""
        return (self._piece(token) or "").encode()

    def spell(self, token: int, first: bool) -> bytes:
        """The bytes of a token by the decoder's rules; `first` for the first token of a text."""
        spelled = self._spelled[first]
        raw = spelled.get(token)
        if raw is None:
            assert self._rules is not None  # only `_SpelledBytes` calls this
            piece = self._piece(token) if self.shows(token) else None
            raw = b"" if piece is None else self._rules.spell(piece, first)
            spelled[token] = raw
        return raw

    @cached_property
    def _special(self) -> Container[int]:
        """The tokens that decoding with `skip_special_tokens` skips."""
        if not self._is_fast:
            return frozenset(self._tokenizer.all_special_ids)
        # `all_special_ids` has only those with a role, and the decoder skips all that are special.
        added = self._tokenizer.added_tokens_decoder.items()
        return frozenset(token for token, content in added if content.special)

    def _piece(self, token: int) -> str | None:
        # Models are often padded beyond their tokenizer's vocabulary.
        piece: str | None = self._tokenizer.convert_ids_to_tokens(token)
        return piece

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def _rules_of(tokenizer: PreTrainedTokenizerFast) -> DecoderRules | None:
    decoder = tokenizer.backend_tokenizer.decoder
    if decoder is None or _cleans_up(tokenizer):
        return None
    return decoder_rules(json.loads(decoder.__getstate__()))


def _cleans_up(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether the tokenizer removes spaces from decoded text; it never does so after plain BPE."""
    is_bpe = type(tokenizer.backend_tokenizer.model).__name__ == "BPE"
    forced = tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
    return bool(tokenizer.clean_up_tokenization_spaces and (forced or not is_bpe))


class _SpelledBytes:
    """`TextBytes` by the decoder's rules."""

    def __init__(self, tokens: TokenBytes, rules: DecoderRules) -> None:
        self._tokens, self._stripped = tokens, rules.stripped
        self._first = True
        self._to_strip = rules.most_stripped

    def peek(self, token: int) -> bytes:
        """See `TextBytes`."""
        raw = self._tokens.spell(token, self._first)
        if not self._to_strip:
            return raw
        return raw[self._strippable(raw) * len(self._stripped) :]

    def add(self, token: int) -> bytes:
        """See `TextBytes`."""
        if not self._first and not self._to_strip:
            return self._tokens.spell(token, False)
        shown = self.peek(token)
        if self._tokens.shows(token):
            raw = self._tokens.spell(token, self._first)
            self._to_strip = 0 if shown else self._to_strip - self._strippable(raw)
            self._first = False
        return shown

    def finish(self) -> bytes:
        """See `TextBytes`."""
        return b""

    def _strippable(self, raw: bytes) -> int:
        """How many times `raw` begins with what is stripped here."""
        count, length = 0, len(self._stripped)
        while count < self._to_strip and raw.startswith(self._stripped, count * length):
            count += 1
        return count


class DecodedBytes:
    """`TextBytes` by decoding a token together with those before it.

    Adding a token decodes only the last few tokens. Decoding starts at a character boundary that
    precedes text already returned, since some decoders strip leading spaces from their input.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._tokens: list[int] = []  # from the start of decoding on
        self._next_start = 0  # index in `_tokens`
        self._shown = 0  # characters of the decoded `_tokens` that were returned
        self._rest = ""

    def peek(self, token: int) -> bytes:
        """See `TextBytes`."""
        return self._decoded(token)[0].encode()

    def add(self, token: int) -> bytes:
        """See `TextBytes`."""
        new, self._rest = self._decoded(token)
        self._tokens.append(token)
        self._shown += len(new)
        if new and not self._rest and len(self._tokens) - self._next_start >= _STRIDE:
            self._tokens = self._tokens[self._next_start :]
            self._next_start = len(self._tokens)
            self._shown = len(self._decode(self._tokens))
        return new.encode()

    def finish(self) -> bytes:
        """See `TextBytes`: an incomplete character, as the decoder shows it."""
        return self._rest.encode()

    def _decoded(self, token: int) -> tuple[str, str]:
        """The complete characters that the token adds, and what is incomplete behind them."""
        decoded = self._decode([*self._tokens, token])
        complete = decoded.rstrip(_REPLACEMENT)
        return complete[self._shown :], decoded[max(self._shown, len(complete)) :]
