"""Answers in OpenAI's format, of events that are written by hand."""

from __future__ import annotations

import asyncio
import json

import pytest

from serve.batching.jobs import Accepted, Done, Outcome, Refused, Text
from serve.http.openai_format import DONE, AnswerFormat, ChatForm, TextForm, Usage


def answer(form, rows=1, include_usage=False):
    return AnswerFormat(form, "base", "f" * 64, rows, include_usage)


def streamed(form, *batches):
    """The chunks of each part that is sent, and whether what they were made of was closed."""
    closed = []

    async def rest():
        try:
            for batch in batches[1:]:
                yield batch
        finally:
            closed.append(True)

    async def go():
        return [part async for part in form.events(batches[0], rest())]

    parts = asyncio.run(go())
    assert closed == [True]
    return parts


def chunks(part):
    return [json.loads(line.removeprefix("data: ")) for line in part.split("\n\n") if line]


def test_tokens_of_a_row_that_has_not_ended_are_those_that_were_sent():
    usage = Usage()
    for event in (Accepted(7), Text(0, "a"), Text(0, "bc", tokens=2), Text(1, "d")):
        usage.see(event)
    assert (usage.prompt, usage.written, usage.total) == (7, 4, 11)
    usage.see(Done(0, "abcd", 5, "stop"))  # tokens without text of their own are counted too
    assert usage.object() == {"prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13}


@pytest.mark.parametrize(
    ("form", "kind", "prefix"),
    [(ChatForm(), "chat.completion", "chatcmpl-"), (TextForm(), "text_completion", "cmpl-")],
)
def test_a_whole_answer_has_a_choice_for_each_row(form, kind, prefix):
    rows = (Done(0, "Hi", 2, "length"), Done(1, "Ho", 3, "stop"))
    whole = answer(form, rows=2).whole(Outcome(5, rows))
    assert whole["object"] == kind and whole["id"].startswith(prefix)
    assert (whole["model"], whole["system_fingerprint"]) == ("base", "f" * 64)
    reasons = [(one["index"], one["finish_reason"]) for one in whole["choices"]]
    assert reasons == [(0, "length"), (1, "stop")]
    texts = [
        one["message"]["content"] if "message" in one else one["text"] for one in whole["choices"]
    ]
    assert texts == ["Hi", "Ho"]
    assert whole["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


def test_a_streamed_chat_announces_its_role_and_a_text_has_none():
    events = [Accepted(5)], [Text(0, "Hi"), Text(0, "!")], [Done(0, "Hi!", 2, "stop")]
    opening, both, closing, end = streamed(answer(ChatForm()), *events)
    (first,) = chunks(opening)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    # Events that come together are sent together.
    assert [one["choices"][0]["delta"]["content"] for one in chunks(both)] == ["Hi", "!"]
    (last,) = chunks(closing)
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert end == DONE and "usage" not in last
    pieces, closing, end = streamed(answer(TextForm()), *events)
    assert [one["choices"][0]["text"] for one in chunks(pieces)] == ["Hi", "!"]


def test_usage_comes_last_and_alone_where_it_was_asked_for():
    asked = answer(TextForm(), include_usage=True)
    *parts, usage, end = streamed(asked, [Accepted(5)], [Done(0, "Hi", 2, "stop")])
    assert [one["usage"] for part in parts for one in chunks(part)] == [None]
    (told,) = chunks(usage)
    assert (told["choices"], told["usage"]["total_tokens"]) == ([], 7)
    assert end == DONE


def test_a_failure_after_the_beginning_ends_the_stream_with_an_error():
    refused = Refused(500, "generation failed", "generation_failed")
    batches = [Accepted(5)], [Text(0, "Hi"), refused], [Text(0, "never")]
    *_, last = streamed(answer(TextForm()), *batches)
    text, error = chunks(last)
    assert text["choices"][0]["text"] == "Hi"
    assert error["error"]["type"] == "server_error"
    assert error["error"]["message"] == "generation failed"
