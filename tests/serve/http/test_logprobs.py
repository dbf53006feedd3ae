"""Token log-probabilities in the formats of OpenAI's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient

from align.inference import EngineOptions
from align.inference.engine import BankEngine
from serve.access.keys import Keys
from serve.batching.jobs import TokenLogprob
from serve.batching.token_text import TokenizerVocabulary
from serve.batching.worker import ReplicaLimits, Worker
from serve.catalogue import SnapshotSource
from serve.experiments import Experiments
from serve.http.api import create_api
from serve.http.backend import Backend
from serve.http.logprobs import chat_logprobs, text_logprobs
from tests.align.inference.tiny_families import random_base
from tests.align.inference.tiny_tokenizers import tiny_tokenizer
from tests.serve.conftest import Adapters
from tests.serve.serve_fakes import BASE, LocalTally

NEVER = float("-inf")
TOKENS = (
    TokenLogprob(b"Hi", -0.5, 0, ((b"Hi", -0.5), (b"Ho", -1.5))),
    TokenLogprob(b"\xc3", NEVER, 2, ((b"!", NEVER),)),
    TokenLogprob(b"\xa9", -2.0, 2),
)


def test_what_was_not_asked_for_is_null():
    assert chat_logprobs(None) is None and text_logprobs(None) is None
    assert chat_logprobs(()) == {"content": [], "refusal": None}


def test_a_chat_has_an_entry_for_each_token():
    assert chat_logprobs(TOKENS[:1]) == {
        "content": [
            {
                "token": "Hi",
                "logprob": -0.5,
                "bytes": [72, 105],
                "top_logprobs": [
                    {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]},
                    {"token": "Ho", "logprob": -1.5, "bytes": [72, 111]},
                ],
            }
        ],
        "refusal": None,
    }


def test_a_text_has_a_list_for_each_property_and_what_was_taken_among_the_likeliest():
    assert text_logprobs(TOKENS) == {
        "tokens": ["Hi", "\\xc3", "\\xa9"],
        "token_logprobs": [-0.5, -9999.0, -2.0],
        "top_logprobs": [
            {"Hi": -0.5, "Ho": -1.5},
            {"!": -9999.0, "\\xc3": -9999.0},
            {"\\xa9": -2.0},
        ],
        "text_offset": [0, 2, 2],
    }


def test_a_chat_shows_a_part_of_a_character_by_a_replacement_character_and_its_bytes():
    answer = chat_logprobs(TOKENS[1:2])
    assert answer is not None
    (entry,) = answer["content"]
    assert entry["token"] == "\ufffd" and entry["bytes"] == [0xC3]


def test_of_tokens_with_the_same_text_the_likeliest_counts_and_the_taken_has_its_own():
    top = ((b"Hi", -0.5), (b"Ho", -1.0), (b"Ho", -1.5), (b"Hi", -2.0))
    answer = text_logprobs((TokenLogprob(b"Hi", -2.0, 0, top),))
    assert answer is not None
    assert answer["top_logprobs"] == [{"Hi": -2.0, "Ho": -1.0}]


# What clients get of a real engine: its random model writes any tokens, parts of characters too.

SAMPLED = {"model": "base", "seed": 11, "temperature": 1.0, "n": 2, "max_tokens": 48}
SAMPLED |= {"ignore_eos": True}
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


@pytest.fixture(params=["smollm2", "qwen2", "llama2", "gemma", "metaspace-always", "wordpiece"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return tiny_tokenizer(request.param)


@pytest.fixture
def client(
    tokenizer: Any, adapters: Adapters, experiments: Experiments, keys: Keys
) -> Iterator[TestClient]:
    base = random_base("llama", tokenizer, vocab_size=len(tokenizer) + 3, hidden_size=32)
    engine = BankEngine(base, EngineOptions(slots=4, slot_tokens=256, reuse=False))

    def folder_of(adapter: Any) -> Any:
        raise NotImplementedError

    worker = Worker(engine, folder_of, TokenizerVocabulary(tokenizer), ReplicaLimits(slots=4))
    source = SnapshotSource(adapters.registry, experiments, keys)
    with TestClient(create_api(Backend(worker, source, BASE, LocalTally()))) as client:
        yield client


@dataclass
class Row:
    """A choice, put together from its parts."""

    text: str = ""
    logprobs: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, choice: dict[str, Any]) -> None:
        text = choice.get("text")
        said = choice.get("message") or choice.get("delta") or {}
        self.text += text if text is not None else said.get("content", "")
        for key, values in (choice["logprobs"] or {}).items():
            if key != "refusal":
                self.logprobs.setdefault(key, []).extend(values)
        if text is not None and self.logprobs:
            assert max(self.logprobs["text_offset"], default=0) <= len(self.text)

    @property
    def tokens(self) -> list[Any]:
        """Bytes, or texts and offsets; log-probabilities vary with what else a step computes."""
        if "content" in self.logprobs:
            return [entry["bytes"] for entry in self.logprobs["content"]]
        return [*zip(self.logprobs["tokens"], self.logprobs["text_offset"], strict=True)]


def rows_of(client: TestClient, path: str, **body: Any) -> list[Row]:
    body = SAMPLED | body
    if path == CHAT:
        body |= {"messages": [{"role": "user", "content": "hi"}], "logprobs": True}
        body |= {"top_logprobs": 3}
    else:
        body |= {"prompt": "hi", "logprobs": 3}
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    answers = [response.text]
    if body.get("stream"):
        answers = [one[len("data: ") :] for one in response.text.split("\n\n")[:-2]]
    rows = [Row(), Row()]
    for answer in answers:
        for choice in json.loads(answer)["choices"]:
            rows[choice["index"]].add(choice)
    return rows


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_stream_is_the_whole_answer_also_where_it_stops(client, path):
    whole = rows_of(client, path)
    for row, streamed in zip(whole, rows_of(client, path, stream=True), strict=True):
        assert (streamed.text, streamed.tokens) == (row.text, row.tokens)
    stops = [row.text[5:7] for row in whole]
    stopped = rows_of(client, path, stop=stops)
    for row, streamed in zip(stopped, rows_of(client, path, stop=stops, stream=True), strict=True):
        assert (streamed.text, streamed.tokens) == (row.text, row.tokens)
    for row, cut in zip(whole, stopped, strict=True):
        assert row.text.startswith(cut.text) and len(cut.text) <= 5
        assert row.tokens[: len(cut.tokens)] == cut.tokens
        assert len(cut.tokens) < len(row.tokens)


def test_the_bytes_of_a_chats_tokens_are_its_text(client, tokenizer):
    hidden = [content for content in tokenizer.added_tokens_decoder.values() if content.special]
    names = {str(content).encode() for content in hidden}
    for row in rows_of(client, CHAT):
        entries = row.logprobs["content"]
        shown = [bytes(one["bytes"]) for one in entries if bytes(one["bytes"]) not in names]
        written = b"".join(shown).decode(errors="replace")
        assert len(entries) == SAMPLED["max_tokens"]
        assert written == row.text or row.text.removeprefix(written).strip("\ufffd") == ""
        candidates = [one for entry in entries for one in entry["top_logprobs"]]
        for entry in entries + candidates:
            assert entry["token"] == bytes(entry["bytes"]).decode(errors="replace")


def test_a_texts_tokens_stand_at_their_offsets(client, tokenizer):
    hidden = [content for content in tokenizer.added_tokens_decoder.values() if content.special]
    names = {str(content) for content in hidden}
    for row in rows_of(client, TEXT):
        tokens, offsets = row.logprobs["tokens"], row.logprobs["text_offset"]
        assert len(tokens) == SAMPLED["max_tokens"] and offsets == sorted(offsets)
        for token, offset, logprob, top in zip(
            tokens,
            offsets,
            row.logprobs["token_logprobs"],
            row.logprobs["top_logprobs"],
            strict=True,
        ):
            assert top[token] == logprob
            if token not in names and not token.startswith("\\x"):
                assert row.text[offset:].startswith(token)
