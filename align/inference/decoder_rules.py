"""How the decoder of a `tokenizers` tokenizer spells a piece, read from the decoder's state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_characters() -> dict[str, int]:
    """The byte of each character in byte-level BPE (as in GPT-2's encoder)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    characters = {chr(byte): byte for byte in printable}
    return characters | {chr(0x100 + index): byte for index, byte in enumerate(others)}


_BYTES = _byte_characters()


@dataclass(frozen=True)
class DecoderRules:
    """The bytes of a piece, for decoders that spell each piece by itself.

    `replaced` is applied in order. `dropped` is removed from the first piece of a text instead of
    being replaced. Up to `most_stripped` times, `stripped` is removed from the beginning of a text.
    """

    byte_level: bool = False
    byte_fallback: bool = False
    replaced: tuple[tuple[str, str], ...] = ()
    dropped: str | None = None
    stripped: bytes = b""
    most_stripped: int = 0

    def spell(self, piece: str, first: bool) -> bytes:
        """The UTF-8 bytes of a piece; `first` for the first piece of a text."""
        if self.byte_level:
            encoded = all(character in _BYTES for character in piece)
            return bytes(_BYTES[character] for character in piece) if encoded else piece.encode()
        for old, new in self.replaced:
            piece = piece.replace(old, "" if first and old == self.dropped else new)
        byte = _BYTE.fullmatch(piece) if self.byte_fallback else None
        return piece.encode() if byte is None else bytes([int(byte[1], 16)])


def decoder_rules(state: dict[str, Any]) -> DecoderRules | None:
    """The rules of a decoder, from its JSON state; None if the neighbours of a piece matter, too.

    Covered are ByteLevel, Metaspace, and Sequence as SentencePiece's models have it: Replace of a
    string, ByteFallback, Fuse, and Strip at the beginning.
    """
    rules, fused = DecoderRules(), False
    for stage in _stages(state):
        extended = _fused(rules, stage) if fused else _by_piece(rules, stage)
        if extended is None:
            return None
        rules = extended
        fused = fused or stage["type"] in ("Fuse", "ByteLevel")
    return rules


def _stages(state: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if state["type"] != "Sequence":
        yield state
        return
    for stage in state["decoders"]:
        yield from _stages(stage)


def _by_piece(rules: DecoderRules, stage: dict[str, Any]) -> DecoderRules | None:
    """The rules with a stage that is applied to each piece."""
    kind = stage["type"]
    if kind == "Fuse":
        return rules
    if kind == "ByteLevel" and rules == DecoderRules():
        return replace(rules, byte_level=True)
    if rules.byte_fallback:  # bytes of several pieces are joined to characters already
        return None
    if kind == "ByteFallback":
        return replace(rules, byte_fallback=True)
    if kind == "Replace" and stage["pattern"].get("String"):
        change = stage["pattern"]["String"], stage["content"]
        return replace(rules, replaced=(*rules.replaced, change))
    if kind == "Metaspace" and rules.dropped is None:
        space = stage["replacement"]
        dropped = None if stage["prepend_scheme"] == "never" else space
        return replace(rules, replaced=(*rules.replaced, (space, " ")), dropped=dropped)
    return None


def _fused(rules: DecoderRules, stage: dict[str, Any]) -> DecoderRules | None:
    """The rules with a stage that is applied to the whole text."""
    if stage["type"] == "Fuse":
        return rules
    if stage["type"] == "Strip" and not stage["stop"] and not rules.most_stripped:
        return replace(rules, stripped=stage["content"].encode(), most_stripped=stage["start"])
    return None
