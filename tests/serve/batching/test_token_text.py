"""Tokens with their bytes and places, for the tokenizers of all families: together, the text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from align.inference.sampling_state import Picked
from align.inference.stopping import Written
from align.inference.types import GenerationRequest, TokenLogprobs, Update
from serve.batching.engine_metrics import EngineMeter
from serve.batching.jobs import Done, GenerateJob, Text, TokenLogprob
from serve.batching.queued_request import QueuedRequest
from serve.batching.sequence_stream import SequenceStream
from serve.batching.token_text import TokenizerVocabulary
from tests.align.inference.tiny_tokenizers import (
    ADDED,
    DECODED,
    EXACT,
    SENTENCEPIECE,
    SILENT,
    TEXTS,
    tiny_tokenizer,
)

END = -1
#: Candidates of each position, besides the token that is taken.
OTHERS = (5, 17, 60)


@dataclass
class Answer:
    """A row as its client has it, and its parts if it is streamed."""

    done: Done
    parts: list[Text]
    tokens: list[TokenLogprob]

    @property
    def text(self) -> str:
        return self.done.text


def answer(vocabulary: TokenizerVocabulary, tokens: Sequence[int], **job: Any) -> Answer:
    """What a client gets when the engine writes these tokens, and then ends its turn."""
    order = QueuedRequest(GenerateJob(("x",), logprobs=1, **job))
    row = SequenceStream(order, 0, vocabulary, EngineMeter().row(None, 0), 1)
    request = GenerationRequest((1,), max_new_tokens=len(tokens), stop=job.get("stop", ()))
    written = Written(request, vocabulary.begin(), frozenset({END}), job.get("streamed", False))
    events: list[Any] = []
    for place, token in enumerate(tokens):
        top = tuple((other, -9.0) for other in (token, *OTHERS))
        text, done = written.take(Picked(token, TokenLogprobs(-1.0 - place, top)))
        events += row.events(Update(0, text, written.completion, done), 0)
        if done:
            break
    parts = [event for event in events if isinstance(event, Text)]
    given = [*parts, events[-1]]
    return Answer(events[-1], parts, [token for event in given for token in event.logprobs or ()])


def check(vocabulary: TokenizerVocabulary, ids: Sequence[int], made: Answer) -> None:
    """What holds for every answer, up to a character that is cut off at its end."""
    raw, text = b"", made.text
    for token, known in zip(ids, made.tokens, strict=False):
        assert 0 <= known.offset <= len(text)
        assert known.top[0][0] == known.raw
        if not vocabulary.shows(token):
            assert known.raw == vocabulary.name(token)
            continue
        raw += known.raw
        whole = "\ufffd" not in known.raw.decode(errors="replace")
        if whole:
            cut = text[known.offset :]
            assert cut.startswith(known.raw.decode()) or known.raw.decode().startswith(cut)
    assert raw.decode(errors="replace").startswith(text) or text.startswith(raw.decode())


@pytest.fixture(params=[*EXACT, *DECODED])
def vocabulary(request: pytest.FixtureRequest) -> TokenizerVocabulary:
    return TokenizerVocabulary(tiny_tokenizer(request.param))


def ids_of(vocabulary: TokenizerVocabulary, text: str) -> list[int]:
    return [token for token in vocabulary.encode(text) if vocabulary.shows(token)]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", [*EXACT, *DECODED])
def test_the_tokens_of_a_text_are_the_text(name, text):
    vocabulary, exact = TokenizerVocabulary(tiny_tokenizer(name)), name in EXACT
    ids = ids_of(vocabulary, text)
    made = answer(vocabulary, ids)
    check(vocabulary, ids, made)
    raw = b"".join(token.raw for token in made.tokens)
    if exact:
        assert raw == made.text.encode()
    else:  # a replacement character at the end may be an incomplete character
        assert made.text.startswith(raw.decode())
        assert set(made.text.removeprefix(raw.decode())) <= {"\ufffd"}
    assert len(made.tokens) == len(ids)
    assert [token.logprob for token in made.tokens] == [-1.0 - place for place in range(len(ids))]


@pytest.mark.parametrize("name", EXACT)
def test_a_text_that_is_cut_within_a_character(name):
    vocabulary = TokenizerVocabulary(tiny_tokenizer(name))
    for text in ("of 🙂🙂", "世界 你好"):
        ids = ids_of(vocabulary, text)
        for count in range(1, len(ids) + 1):
            made = answer(vocabulary, ids[:count])
            check(vocabulary, ids[:count], made)
            raw = b"".join(token.raw for token in made.tokens)
            assert raw.decode(errors="replace") == made.text and len(made.tokens) == count


@pytest.mark.parametrize("text", TEXTS)
def test_a_stream_has_each_token_with_its_text(vocabulary, text):
    ids = ids_of(vocabulary, text)
    whole, made = answer(vocabulary, ids), answer(vocabulary, ids, streamed=True)
    assert made.tokens == whole.tokens
    assert "".join(part.text for part in made.parts) == made.text == whole.text
    released = 0
    for part in made.parts:
        released += len(part.text)
        for token in part.logprobs or ():
            begin = token.offset + len(token.raw.decode(errors="ignore"))
            assert begin <= released
    assert sum(part.tokens for part in made.parts) == len(ids)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("text", TEXTS[:10])
def test_tokens_in_front_of_a_stop_string_stay_and_those_behind_it_do_not(
    vocabulary, text, streamed
):
    ids = ids_of(vocabulary, text)
    shown = answer(vocabulary, ids).text
    for begin in range(0, len(shown) - 2, 5):
        stop = shown[begin : begin + 3]
        made = answer(vocabulary, ids, stop=(stop,), streamed=streamed)
        assert made.text == shown[: shown.index(stop)]
        check(vocabulary, ids, made)
        raw = b"".join(token.raw for token in made.tokens)
        assert raw.startswith(made.text.encode())  # all that the text has, some begin in it
        assert all(token.offset < len(made.text) or not token.raw for token in made.tokens)


@pytest.mark.parametrize("name", [name for name in EXACT if name != "smollm2"])
def test_tokens_that_are_not_shown_stand_where_they_would_be(name):
    tokenizer = tiny_tokenizer(name)
    vocabulary = TokenizerVocabulary(tokenizer)
    silent, added = tokenizer.convert_tokens_to_ids([SILENT, ADDED])
    half, rest = ids_of(vocabulary, "of"), ids_of(vocabulary, "🙂")
    ids = [silent, *half, silent, added, *rest[:-1], silent, rest[-1], silent]
    for streamed in (False, True):
        made = answer(vocabulary, ids, streamed=streamed)
        check(vocabulary, ids, made)
        assert len(made.tokens) == len(ids)
        assert [token.raw for token in made.tokens].count(SILENT.encode()) == 4
        assert SILENT not in made.text and ADDED in made.text


def test_the_likeliest_have_the_bytes_that_they_would_have_there():
    for name in SENTENCEPIECE:
        vocabulary = TokenizerVocabulary(tiny_tokenizer(name))
        space = tiny_tokenizer(name).convert_tokens_to_ids("▁")
        order = QueuedRequest(GenerateJob(("x",), logprobs=1))
        row = SequenceStream(order, 0, vocabulary, EngineMeter().row(None, 0), 1)
        written = Written(
            GenerationRequest((1,), max_new_tokens=2), vocabulary.begin(), frozenset()
        )
        word = ids_of(vocabulary, "x")[-1]
        events: list[Any] = []
        for _ in range(2):
            text, done = written.take(Picked(word, TokenLogprobs(-1.0, ((space, -0.5),))))
            events += row.events(Update(0, text, written.completion, done), 0)
        assert events[-1].logprobs is not None
        first, second = (token.top[0][0] for token in events[-1].logprobs)
        assert second == b" "
        assert first == (b" " if name in ("gemma", "mistral-never") else b"")


@pytest.mark.parametrize("name", EXACT)
def test_tokens_stand_at_their_offsets_among_broken_characters(name):
    tokenizer = tiny_tokenizer(name)
    vocabulary = TokenizerVocabulary(tokenizer)
    pieces = vocabulary.begin()
    broken = [token for token in range(len(tokenizer)) if not _is_text(pieces.peek(token))]
    whole = ids_of(vocabulary, "of 🙂")
    draw = random.Random(7)
    for _ in range(200):
        ids = draw.choices([*broken, *whole], k=12) if broken else whole
        made, written = answer(vocabulary, ids), b""
        for known in made.tokens:
            character = (written + known.raw[:1]).decode(errors="replace")
            assert known.offset == max(0, len(character) - 1)
            written += known.raw
        assert made.text == written.decode(errors="replace")


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
