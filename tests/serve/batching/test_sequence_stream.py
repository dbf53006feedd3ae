"""What steps of a sequence mean for its client: text, and which token belongs to which part."""

from __future__ import annotations

from typing import Any

import pytest

from align.inference.types import Completion, TokenLogprobs, Update
from serve.batching.engine_metrics import EngineMeter
from serve.batching.jobs import Done, GenerateJob, Text
from serve.batching.queued_request import QueuedRequest
from serve.batching.sequence_stream import SequenceStream
from serve.http.logprobs import chat_logprobs, text_logprobs

BYTES = {
    0: b"Hi", 1: b" there", 2: b"\xc3", 3: b"\xa9", 4: b"<|end|>", 5: b" hello"
}  # fmt: skip


class Vocabulary:
    """Five tokens; 2 and 3 are the halves of "é", 4 is special; spaces in front are left out."""

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def raw(self, token: int) -> bytes:
        return BYTES[token]

    def silent(self, token: int) -> bool:
        return token == 4

    def stripped(self, token: int) -> int:
        return int(BYTES[token].startswith(b" "))


class Written:
    """A sequence whose updates are written by hand."""

    def __init__(self, **job: Any) -> None:
        order = QueuedRequest(GenerateJob(("x",), logprobs=0, **job))
        self.row = SequenceStream(order, 0, Vocabulary(), EngineMeter().row(None, 0), 1)
        self.completion = Completion()

    def step(self, token: int, text: str, done: bool = False) -> list[Any]:
        self.completion.token_ids.append(token)
        self.completion.logprobs.append(TokenLogprobs(-1.0))
        self.completion.text += text
        return self.row.events(Update(0, text, self.completion, done), 0)


def spelled(event: Text | Done) -> list[bytes]:
    assert event.logprobs is not None
    return [token.raw for token in event.logprobs]


def test_half_a_character_goes_out_with_its_other_half():
    written = Written(streamed=True)
    (first,) = written.step(0, "Hi")
    assert spelled(first) == [b"Hi"]
    halves = [*written.step(2, ""), *written.step(3, "é")]
    assert [raw for event in halves for raw in spelled(event)] == [b"\xc3", b"\xa9"]
    assert "".join(event.text for event in halves) == "é"


def test_tokens_wait_for_text_that_is_held_back():
    written = Written(streamed=True, stop=("there!",))
    (first,) = written.step(0, "Hi")
    (second,) = written.step(1, " ")
    (third,) = written.step(0, "thereHi")
    assert [spelled(one) for one in (first, second, third)] == [[b"Hi"], [], [b" there", b"Hi"]]


@pytest.mark.parametrize("streamed", [False, True])
def test_tokens_of_a_stop_string_are_left_out(streamed):
    written = Written(streamed=streamed, stop=("there",))
    written.step(0, "Hi")
    written.step(1, " ")
    written.completion.finish_reason = "stop"
    events = written.step(0, "", done=True)
    tokens = [raw for one in events if one.logprobs is not None for raw in spelled(one)]
    assert tokens == ([b" there"] if streamed else [b"Hi", b" there"])
    assert isinstance(events[-1], Done) and events[-1].text == "Hi "


def test_the_token_that_ended_it_is_left_out():
    written = Written()
    written.completion.logprobs.append(TokenLogprobs(-1.0))
    written.completion.finish_reason, written.completion.ended = "stop", 4
    (done,) = written.step(0, "Hi", done=True)
    assert spelled(done) == [b"Hi"]


def test_offsets_count_what_the_text_shows():
    written = Written()
    for token, text in ((5, "hello"), (4, ""), (2, ""), (3, "é")):
        written.step(token, text)
    (done,) = written.step(1, " there", done=True)
    assert done.logprobs is not None
    assert [token.offset for token in done.logprobs] == [0, 5, 5, 5, 6]


def test_parts_of_characters_are_spelled_by_their_bytes():
    written = Written()
    written.step(2, "")
    (done,) = written.step(3, "é", done=True)
    chat, text = chat_logprobs(done.logprobs), text_logprobs(done.logprobs)
    assert chat is not None and text is not None
    assert [one["token"] for one in chat["content"]] == ["\\xc3", "\\xa9"]
    assert [one["bytes"] for one in chat["content"]] == [[0xC3], [0xA9]]
    assert text["tokens"] == ["\\xc3", "\\xa9"]


def test_impossible_tokens_have_a_number_that_json_has():
    written = Written()
    written.completion.token_ids.append(0)
    written.completion.logprobs.append(TokenLogprobs(float("-inf"), ((1, float("-inf")),)))
    (done,) = written.step(1, "Hi there", done=True)
    chat = chat_logprobs(done.logprobs)
    assert chat is not None
    assert (
        chat["content"][0]["logprob"] == chat["content"][0]["top_logprobs"][0]["logprob"] == -9999
    )
