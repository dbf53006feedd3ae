"""Pieces of text as they come: together they are the text of all tokens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.inference.detokenizer import TextStream
from align.inference.token_bytes import DecodedBytes, TokenBytes
from tests.align.inference.tiny_tokenizers import DECODED, EXACT, TEXTS, tiny_tokenizer

WORDS = "naïve 日本語 text, with 👩‍👩‍👧 families… and\n\n  spaces ﬁ ‱ €"


@pytest.fixture(params=[*EXACT, *DECODED])
def tokenizer(request):
    return tiny_tokenizer(request.param)


@pytest.fixture
def decode(tokenizer):
    return lambda tokens: tokenizer.decode(tokens, skip_special_tokens=True)


def stream_of(raw, tokens, stop=(), lazy=False):
    """Feed tokens until it stops; the stream and the pieces it gave."""
    stream = TextStream(raw, stop, lazy)
    pieces = []
    for token in tokens:
        pieces.append(stream.add(token))
        if stream.stopped:
            break
    return stream, [*pieces, stream.finish()]


@pytest.mark.parametrize("name", [*EXACT, *DECODED])
def test_pieces_of_random_tokens_are_the_whole(name):
    raw = TokenBytes(tiny_tokenizer(name))

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.lists(st.integers(0, len(tiny_tokenizer(name)) - 1), max_size=60))
    def check(tokens):
        stream, pieces = stream_of(raw.begin(), tokens)
        lazy, _ = stream_of(raw.begin(), tokens, lazy=True)
        assert "".join(pieces) == stream.text == lazy.text

    check()


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_of_a_text_are_what_the_tokenizer_decodes(tokenizer, decode, text):
    tokens = tokenizer.encode(text, add_special_tokens=False)
    stream, pieces = stream_of(TokenBytes(tokenizer).begin(), tokens)
    assert "".join(pieces) == stream.text == decode(tokens)


@pytest.mark.parametrize("name", ["gpt2", "smollm2", "llama2", "gemma", "metaspace-never"])
def test_pieces_of_words_end_before_a_stop_string(name):
    tokenizer = tiny_tokenizer(name)
    words = st.lists(st.sampled_from([*WORDS.split(" "), " ", "an", "d\n"]), max_size=12)
    stops = st.lists(st.text("and ï日\n\n€te", min_size=1, max_size=4), max_size=3)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(words.map(" ".join), stops)
    def check(text, stop):
        tokens = tokenizer.encode(text, add_special_tokens=False)
        written = tokenizer.decode(tokens)
        stream, pieces = stream_of(TokenBytes(tokenizer).begin(), tokens, tuple(stop))
        assert "".join(pieces) == stream.text == first_stop(written, stop)
        assert stream.stopped == any(one in written for one in stop)

    check()


def first_stop(text, stop):
    """The text before the stop string that is complete first."""
    ends = [text.find(one) + len(one) for one in stop if one in text]
    if not ends:
        return text
    return text[: min(text.find(one) for one in stop if one in text[: min(ends)])]


def letters(tokens):
    return "".join(map(chr, tokens))


def test_each_token_decodes_only_the_last_few():
    longest = 0

    def decode(tokens):
        nonlocal longest
        longest = max(longest, len(tokens))
        return letters(tokens)

    stream, _ = stream_of(DecodedBytes(decode), map(ord, "some words " * 50))
    assert stream.text == "some words " * 50
    assert longest < 10


def test_what_may_become_a_stop_string_is_held_back():
    stream = TextStream(DecodedBytes(letters), ("END", "xyz"))
    assert [stream.add(ord(char)) for char in "aENxEND"] == ["a", "", "", "EN", "x", "", ""]
    assert stream.stopped and stream.finish() == "" and stream.text == "aENx"


@pytest.fixture
def bytes_of_gpt2():
    """An id for each byte, and the stream of its tokens."""
    tokenizer = tiny_tokenizer("gpt2")
    raw = TokenBytes(tokenizer)
    return {raw.spell(token, False): token for token in range(len(tokenizer))}, raw.begin()


def test_half_a_character_is_held_back_and_comes_at_the_end(bytes_of_gpt2):
    ids, raw = bytes_of_gpt2
    stream = TextStream(raw, ())
    pieces = [stream.add(ids[bytes([byte])]) for byte in b"a\xc3\xa9\xc3"]
    assert pieces == ["a", "", "é", ""]
    assert stream.finish() == "\ufffd"
    assert stream.text == "aé\ufffd"


def test_a_replacement_character_that_is_written_is_not_held_back(bytes_of_gpt2):
    ids, raw = bytes_of_gpt2
    stream = TextStream(raw, ())
    pieces = [stream.add(ids[bytes([byte])]) for byte in "\ufffda".encode()]
    assert pieces == ["", "", "\ufffd", "a"] and stream.finish() == ""


def test_a_character_that_cannot_be_completed_is_shown_at_once(bytes_of_gpt2):
    ids, raw = bytes_of_gpt2
    stream = TextStream(raw, ())
    assert [stream.add(ids[bytes([byte])]) for byte in b"\xf0\x9fa"] == ["", "", "\ufffda"]


def test_lazy_text_comes_at_the_end():
    stream, pieces = stream_of(DecodedBytes(letters), map(ord, "hello"), lazy=True)
    assert pieces == ["", "", "", "", "", "hello"]
    assert stream.text == "hello"
