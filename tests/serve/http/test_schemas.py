"""Bodies of requests, as they are read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from serve.batching.jobs import AdapterRef
from serve.http.schemas import (
    ChatRequest,
    CompletionRequest,
    FeedbackRequest,
    ScoreRequest,
    TokenizeRequest,
)

HELLO = {"role": "user", "content": "hello"}
ADAPTER = AdapterRef("a" * 64, "arithmetic/sft:1")


def chat(*messages, **fields):
    return ChatRequest.model_validate(
        {"model": "base", "messages": list(messages) or [HELLO], **fields}
    )


def test_parts_of_text_are_lines_and_a_developer_is_the_system():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    job = chat({"role": "developer", "content": "be brief"}, {"role": "user", "content": parts})
    assert job.job(None).prompts == (
        ({"role": "system", "content": "be brief"}, {"role": "user", "content": "one\ntwo"}),
    )


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
    ],
)
def test_the_newer_name_of_a_limit_has_precedence(fields, tokens):
    assert chat(**fields).job(ADAPTER).max_tokens == tokens
    assert chat().job(ADAPTER).adapter == ADAPTER


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, None),
        ({"logprobs": False}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 3}, 3),
    ],
)
def test_logprobs_are_asked_for_with_the_likeliest_or_without(fields, count):
    assert chat(**fields).job(None).logprobs == count


def test_a_completions_prompts_are_a_text_or_several():
    def prompts(given):
        return (
            CompletionRequest.model_validate({"model": "base", "prompt": given}).job(None).prompts
        )

    assert prompts("one") == ("one",)
    assert prompts(["one", "two"]) == ("one", "two")


def test_a_score_is_of_one_conversation_or_of_several():
    single = ScoreRequest.model_validate({"model": "r:1", "messages": [HELLO]})
    assert single.chats == ((HELLO,),)
    both = ScoreRequest.model_validate({"model": "r:1", "conversations": [[HELLO], [HELLO, HELLO]]})
    assert both.chats == ((HELLO,), (HELLO, HELLO))


def test_what_nobody_knows_is_named_and_not_refused():
    assert chat(zeta=1, alpha=2).ignored == ["alpha", "zeta"]
    assert chat().ignored == []


@pytest.mark.parametrize("value", [None, False, [], {}, {"type": "text"}])
def test_a_field_that_is_not_supported_may_say_what_happens_anyway(value):
    assert chat(response_format=value)


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (ChatRequest, {"messages": [HELLO], "response_format": {"type": "json"}}, "not supported"),
        (ChatRequest, {"messages": [HELLO], "top_logprobs": 2}, "set logprobs to true"),
        (ChatRequest, {"messages": [HELLO], "n": True}, "integer"),
        (
            ChatRequest,
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "only text",
        ),
        (CompletionRequest, {"prompt": [1, 2]}, "string"),
        (CompletionRequest, {"prompt": ""}, "at least 1"),
        (ScoreRequest, {}, "either 'messages' or 'conversations'"),
        (ScoreRequest, {"messages": [HELLO], "conversations": [[HELLO]]}, "expected either"),
        (TokenizeRequest, {}, "either 'prompt' or 'messages'"),
        (FeedbackRequest, {"request_id": "x", "value": float("nan")}, "finite"),
        (FeedbackRequest, {"request_id": "x", "value": 2e100}, "less than or equal"),
        (FeedbackRequest, {"request_id": "x", "value": 1, "comment": "a\0b"}, "NUL"),
    ],
)
def test_what_would_be_misunderstood_is_refused(kind, body, message):
    with pytest.raises(ValidationError, match=message):
        kind.model_validate({"model": "base", **body})
