"""Pieces of text as they come: together they are the text of all tokens."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders
from transformers import AutoTokenizer

from align.base import model_source
from align.inference.detokenizer import TextStream
from align.sources import packaged_smollm2

WORDS = "naïve 日本語 text, with 👩‍👩‍👧 families… and\n\n  spaces ﬁ ‱ €"


@pytest.fixture(scope="module", params=["tiny-random", "smollm2-135m-instruct"])
def tokenizer(request):
    if request.param == "tiny-random":
        return AutoTokenizer.from_pretrained(model_source(request.param))
    file = packaged_smollm2()  # its weights are not needed, and take long
    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


@pytest.fixture
def decode(tokenizer):
    return lambda tokens: tokenizer.decode(tokens, skip_special_tokens=True)


def stream_of(decode, tokens, stop=(), lazy=False):
    """Feed tokens until it stops; the stream and the pieces it gave."""
    stream = TextStream(decode, stop, lazy)
    pieces = []
    for token in tokens:
        pieces.append(stream.add(token))
        if stream.stopped:
            break
    return stream, [*pieces, stream.finish()]


def test_pieces_of_random_tokens_are_the_whole(tokenizer, decode):
    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(st.lists(st.integers(0, len(tokenizer) - 1), max_size=60))
    def check(tokens):
        stream, pieces = stream_of(decode, tokens)
        assert "".join(pieces) == stream.text == decode(tokens)
        assert not any(piece.endswith("\ufffd") for piece in pieces[:-1])

    check()


def test_pieces_of_words_end_before_a_stop_string(tokenizer, decode):
    words = st.lists(st.sampled_from([*WORDS.split(" "), " ", "an", "d\n"]), max_size=12)
    stops = st.lists(st.text("and ï日\n\n€te", min_size=1, max_size=4), max_size=3)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(words.map(" ".join), stops)
    def check(text, stop):
        tokens = tokenizer.encode(text, add_special_tokens=False)
        stream, pieces = stream_of(decode, tokens, tuple(stop))
        assert "".join(pieces) == stream.text == first_stop(text, stop)
        assert stream.stopped == any(one in text for one in stop)

    check()


def first_stop(text, stop):
    """The text before the stop string that is complete first."""
    ends = [text.find(one) + len(one) for one in stop if one in text]
    if not ends:
        return text
    return text[: min(text.find(one) for one in stop if one in text[: min(ends)])]


# What Llama 2's and Mistral's tokenizers do: spaces as ▁, bytes as <0x…>, the first space stripped.
PIECES = [
    "▁Hello", "▁", "lo", "▁wor", "ld", ".", "▁▁", "<s>", "<0x0A>", "<0x41>",
    "<0xE2>", "<0x82>", "<0xAC>", "<0xC3>", "<0xA9>",
]  # fmt: skip
CHARACTERS = [(0,), (1,), (2,), (3,), (4,), (5,), (6,), (7,), (8,), (9,), (10, 11, 12), (13, 14)]
SENTENCEPIECE = decoders.Sequence(
    [
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
)


def decode_pieces(tokens):
    return SENTENCEPIECE.decode([PIECES[token] for token in tokens if PIECES[token] != "<s>"])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(CHARACTERS), max_size=30))
def test_a_decoder_that_strips_the_first_space(characters):
    tokens = list(itertools.chain.from_iterable(characters))
    stream, pieces = stream_of(decode_pieces, tokens)
    assert "".join(pieces) == stream.text == decode_pieces(tokens)


def letters(tokens):
    return "".join(map(chr, tokens))


def test_each_token_decodes_only_the_last_few():
    longest = 0

    def decode(tokens):
        nonlocal longest
        longest = max(longest, len(tokens))
        return letters(tokens)

    stream, _ = stream_of(decode, map(ord, "some words " * 50))
    assert stream.text == "some words " * 50
    assert longest < 10


def test_what_may_become_a_stop_string_is_held_back():
    stream = TextStream(letters, ("END", "xyz"))
    assert [stream.add(ord(char)) for char in "aENxEND"] == ["a", "", "", "EN", "x", "", ""]
    assert stream.stopped and stream.finish() == "" and stream.text == "aENx"


def test_half_a_character_is_held_back_and_comes_at_the_end():
    def decode(tokens):
        return bytes(tokens).decode(errors="replace")

    stream = TextStream(decode, ())
    assert [stream.add(byte) for byte in b"a\xc3\xa9\xc3"] == ["a", "", "é", ""]
    assert stream.finish() == "\ufffd"
    assert stream.text == "aé\ufffd"


def test_lazy_text_comes_at_the_end():
    stream, pieces = stream_of(letters, map(ord, "hello"), lazy=True)
    assert pieces == ["", "", "", "", "", "hello"]
    assert stream.text == "hello"
