"""Tokens as bytes, for the two kinds of tokenizers that language models have."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from align.base import load_base
from serve.batching.token_text import TokenizerVocabulary

TEXT = " Grüße, 世界 🙂!"


@pytest.fixture(scope="module")
def bytes_() -> TokenizerVocabulary:
    return TokenizerVocabulary(load_base("tiny-random").tokenizer)


@pytest.fixture(scope="module")
def pieces() -> TokenizerVocabulary:
    """As SentencePiece makes them: "▁" for a space, bytes for what it has no piece for."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    names = ["<unk>", "<s>", *bytes_, *"▁helo", "he", "▁he"]
    model = models.BPE(
        vocab={name: index for index, name in enumerate(names)},
        merges=[("h", "e"), ("▁", "he")],
        unk_token="<unk>",
        byte_fallback=True,
    )
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return TokenizerVocabulary(
        PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s>")
    )


def test_the_bytes_of_all_tokens_are_the_texts(bytes_):
    assert b"".join(bytes_.raw(token) for token in bytes_.encode(TEXT)) == TEXT.encode()
    assert bytes_.stripped(bytes_.encode(" ")[0]) == 0


def test_spaces_and_bytes_of_sentencepiece(pieces):
    tokens = pieces.encode("hello é")
    assert b"".join(pieces.raw(token) for token in tokens) == " hello é".encode()
    assert pieces.stripped(tokens[0]) == 1
    assert pieces.stripped(tokens[1]) == 0


def test_ends_of_turns_are_named_and_show_nothing(bytes_):
    end = load_base("tiny-random").tokenizer.eos_token_id
    assert bytes_.raw(end) == b"<|im_end|>" and bytes_.silent(end)
    assert not bytes_.silent(bytes_.encode("a")[0])


def test_an_id_beyond_the_vocabulary_has_no_bytes(bytes_):
    assert bytes_.raw(100_000) == b""
