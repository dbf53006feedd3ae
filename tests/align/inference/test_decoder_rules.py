"""Which decoders spell each piece by itself, and how."""

import json

import pytest
from tokenizers import Regex, decoders

from align.inference.decoder_rules import DecoderRules, decoder_rules

SPACE = decoders.Replace("▁", " ")


def rules(decoder):
    return decoder_rules(json.loads(decoder.__getstate__()))


def sequence(*stages):
    return rules(decoders.Sequence(list(stages)))


@pytest.mark.parametrize(
    ("piece", "raw"),
    [
        ("Ġof", b" of"),
        ("Ċ", b"\n"),
        ("ðŁ", b"\xf0\x9f"),
        ("Ã©", "é".encode()),
        ("é", b"\xe9"),  # a byte's character, as `tokenizers` decodes it
        ("日Ġ", "日Ġ".encode()),  # no byte-level piece, but an added token
        ("<0x41>", b"<0x41>"),
        ("", b""),
    ],
)
def test_byte_level(piece, raw):
    made = rules(decoders.ByteLevel())
    assert made is not None
    assert made.spell(piece, first=True) == made.spell(piece, first=False) == raw
    assert decoders.ByteLevel().decode([piece]) == raw.decode(errors="replace")


@pytest.mark.parametrize(
    ("piece", "raw"),
    [
        ("▁of▁", b" of "),
        ("<0xF0>", b"\xf0"),
        ("<0xf0>", b"\xf0"),
        ("<0x0>", b"<0x0>"),
        ("Ġ", "Ġ".encode()),
    ],
)
def test_byte_fallback(piece, raw):
    made = sequence(SPACE, decoders.ByteFallback(), decoders.Fuse())
    assert made is not None and made.most_stripped == 0
    assert made.spell(piece, first=True) == made.spell(piece, first=False) == raw


def test_bytes_are_text_without_byte_fallback():
    made = sequence(SPACE, decoders.Fuse())
    assert made is not None and made.spell("<0xF0>", first=False) == b"<0xF0>"


def test_what_is_stripped_is_told():
    made = sequence(SPACE, decoders.Fuse(), decoders.Strip("_", 2, 0))
    assert made is not None and (made.stripped, made.most_stripped) == (b"_", 2)
    nested = sequence(decoders.Sequence([decoders.ByteLevel()]), decoders.Strip(" ", 1, 0))
    assert nested == DecoderRules(byte_level=True, stripped=b" ", most_stripped=1)


def test_metaspace_drops_spaces_of_the_first_piece():
    always, never = (
        rules(decoders.Metaspace(prepend_scheme=scheme)) for scheme in ("always", "never")
    )
    assert always is not None and never is not None
    assert always.spell("▁a▁b", first=True) == b"ab"
    assert always.spell("▁a▁b", first=False) == never.spell("▁a▁b", first=True) == b" a b"


@pytest.mark.parametrize(
    "decoder",
    [
        decoders.WordPiece(),
        decoders.BPEDecoder(),
        decoders.CTC(),
        decoders.Replace(Regex("▁+"), " "),
        decoders.Sequence([decoders.ByteFallback(), SPACE]),  # "▁" may come of bytes
        decoders.Sequence([decoders.Strip(" ", 1, 0), decoders.Fuse()]),
        decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 0, 1)]),
        decoders.Sequence([decoders.Fuse(), SPACE]),
        decoders.Sequence([SPACE, decoders.ByteLevel()]),
        decoders.Sequence([decoders.Metaspace(), decoders.Metaspace()]),
    ],
)
def test_other_decoders_have_no_rules(decoder):
    assert rules(decoder) is None
