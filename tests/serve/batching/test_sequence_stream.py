"""What steps of a sequence mean for its client: text, and which token belongs to which part."""

from __future__ import annotations

from typing import Any

import pytest

from align.inference.token_bytes import TextBytes
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
    """Six tokens; 2 and 3 are the halves of "é", 4 is special; a space in front is left out."""

    def __init__(self) -> None:
        self._first = True

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def begin(self) -> TextBytes:
        return self

    def shows(self, token: int) -> bool:
        return token != 4

    def name(self, token: int) -> bytes:
        return BYTES[token]

    def peek(self, token: int) -> bytes:
        raw = BYTES[token] if self.shows(token) else b""
        return raw.removeprefix(b" ") if self._first else raw

    def add(self, token: int) -> bytes:
        raw = self.peek(token)
        self._first = self._first and not self.shows(token)
        return raw

    def finish(self) -> bytes:
        return b""


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
    assert spelled(done) == [b"hello", b"<|end|>", b"\xc3", b"\xa9", b" there"]


def test_a_token_behind_a_broken_character_begins_where_its_text_does():
    written = Written()
    for token, text in ((2, ""), (2, "\ufffd"), (0, "\ufffdHi")):
        written.step(token, text)
    (done,) = written.step(1, " there", done=True)
    assert done.text == "\ufffd\ufffdHi there" and done.logprobs is not None
    assert [token.offset for token in done.logprobs] == [0, 1, 2, 4]


def test_half_a_character_waits_for_its_other_half():
    written = Written(streamed=True)
    assert written.step(2, "") == []
    (both,) = written.step(3, "é")
    assert spelled(both) == [b"\xc3", b"\xa9"] and both.tokens == 2


def test_a_token_that_is_not_shown_stays_in_front_of_a_stop_string_alone():
    for streamed in (False, True):
        written = Written(streamed=streamed, stop=("there",))
        events = [*written.step(0, "Hi"), *written.step(4, ""), *written.step(1, " ")]
        events += written.step(4, "")
        written.completion.finish_reason = "stop"
        events += written.step(0, "", done=True)
        tokens = [raw for one in events if one.logprobs is not None for raw in spelled(one)]
        assert tokens == [b"Hi", b"<|end|>", b" there"]


def test_parts_of_characters_are_spelled_by_their_bytes():
    written = Written()
    written.step(2, "")
    (done,) = written.step(3, "é", done=True)
    chat, text = chat_logprobs(done.logprobs), text_logprobs(done.logprobs)
    assert chat is not None and text is not None
    assert [one["token"] for one in chat["content"]] == ["\ufffd", "\ufffd"]
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
