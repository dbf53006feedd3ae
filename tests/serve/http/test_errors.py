"""What the HTTP interface answers to requests it cannot fulfil."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serve.serve_fakes import ask


def error_of(response: Any) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "text"),
    [
        ("chat/completions", {"model": "basse"}, 404, "model", "did you mean base"),
        ("chat/completions", {"model": "arithmetic/stf:1"}, 404, "model", "did you mean arithm"),
        ("chat/completions", {"model": "arithmetic/sft:99"}, 404, "model", "arithmetic/sft:"),
        ("chat/completions", {"model": "elsewhere/sft:1"}, 404, "model", "another-base"),
        ("chat/completions", {"model": "arithmetic/reward:1"}, 400, "model", "/v1/score"),
        ("score", {"model": "arithmetic/sft:1"}, 400, "model", "/v1/chat/completions"),
        ("score", {"model": "base"}, 400, "model", "reward adapter"),
        ("score", {"model": "nobody"}, 404, "model", "no model"),
        ("chat/completions", {"model": "a\0b"}, 400, "model", "NUL"),
        ("chat/completions", {"model": 7}, 400, "model", "string"),
        ("chat/completions", {"messages": []}, 400, "messages", "at least 1"),
        ("chat/completions", {"messages": "hi"}, 400, "messages", "list"),
        (
            "chat/completions",
            {"messages": [{"role": "user"}]},
            400, "messages[0].content", "required",
        ),
        (
            "chat/completions",
            {"messages": [{"role": "pirate", "content": "x"}]},
            400, "messages[0].role", "'user'",
        ),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400, "messages[0].content", "only text",
        ),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": "x" * 300}]},
            400, "messages", "context is 200 tokens, but the prompt has 300",
        ),
        ("chat/completions", {"max_tokens": 500}, 400, "messages", "500 more"),
        ("chat/completions", {"max_tokens": 0}, 400, "max_tokens", "greater"),
        ("chat/completions", {"max_tokens": "5"}, 400, "max_tokens", "integer"),
        ("chat/completions", {"temperature": 2.1}, 400, "temperature", "less than or equal to 2"),
        ("chat/completions", {"temperature": -1}, 400, "temperature", "greater"),
        ("chat/completions", {"top_p": 1.5}, 400, "top_p", "less"),
        ("chat/completions", {"n": 0}, 400, "n", "greater"),
        ("chat/completions", {"n": 129}, 400, "n", "less"),
        ("chat/completions", {"stop": ["a"] * 5}, 400, "stop", "at most 4"),
        ("chat/completions", {"stop": ""}, 400, "stop[0]", "at least 1"),
        ("chat/completions", {"presence_penalty": 3}, 400, "presence_penalty", "less"),
        ("chat/completions", {"logit_bias": {"7": 101}}, 400, "logit_bias[7]", "less"),
        ("chat/completions", {"logit_bias": {"x": 1}}, 400, "logit_bias.x", "integer"),
        ("chat/completions", {"logit_bias": [1]}, 400, "logit_bias", "dict"),
        ("chat/completions", {"logit_bias": {"13": 1}}, 400, "logit_bias", "there is no token 13"),
        ("chat/completions", {"logprobs": 2}, 400, "logprobs", "bool"),
        ("chat/completions", {"top_logprobs": 2}, 400, None, "set logprobs to true"),
        (
            "chat/completions",
            {"logprobs": True, "top_logprobs": 21},
            400, "top_logprobs", "equal to 20",
        ),
        ("chat/completions", {"max_tokens": 2, "min_tokens": 3}, 400, "min_tokens", "allows 2"),
        ("completions", {"prompt": "x", "logprobs": 6}, 400, "logprobs", "equal to 5"),
        ("chat/completions", {"seed": 2**64}, 400, "seed", "less"),
        ("chat/completions", {"user": "x" * 256}, 400, "user", "at most 255"),
        ("chat/completions", {"tools": [{}]}, 400, "tools", "not supported"),
        (
            "chat/completions",
            {"stream_options": {"include_usage": 3}},
            400, "stream_options.include_usage", "bool",
        ),
        ("completions", {}, 400, "prompt", "required"),
        ("completions", {"prompt": ""}, 400, "prompt[0]", "at least 1"),
        ("completions", {"prompt": [[1, 2]]}, 400, "prompt[0]", "string"),
        ("score", {"messages": None}, 400, None, "either"),
        ("feedback", {"request_id": "x", "value": "good"}, 400, "value", "number"),
        ("feedback", {"request_id": "chatcmpl-x", "value": 1}, 404, "request_id", "no answer"),
        ("feedback", {"value": 1}, 400, "request_id", "required"),
        ("nothing", {}, 404, None, "/v1/nothing"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_openais_shape(api, path, body, status, param, text):
    response = ask(api, f"/v1/{path}", **body)
    error = error_of(response)
    assert (response.status_code, error["param"]) == (status, param), error
    assert error["type"] == "invalid_request_error"
    assert text in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b"",
        b'{"model": "base", "temperature": NaN, "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "base", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "base", "user": "\\ud800", "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "base", "seed": 1e400, "messages": [{"role": "user", "content": "x"}]}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_request_is_a_400(api, body):
    for path in ("/v1/chat/completions", "/v1/feedback"):
        response = api.post(path, content=body, headers={"content-type": "application/json"})
        assert response.status_code == 400, response.text
        error_of(response)


def test_refusals_come_before_a_stream_starts(api):
    response = ask(api, stream=True, messages=[{"role": "user", "content": "x" * 300}])
    assert response.status_code == 400
    assert error_of(response)["code"] == "context_length_exceeded"


def test_an_engine_that_fails_is_a_500_that_says_so(api, engine):
    engine.broken = True
    response = ask(api)
    assert response.status_code == 500
    assert error_of(response)["type"] == "server_error"
    engine.broken = False
    assert ask(api).status_code == 200


def test_a_request_that_the_engine_refuses_is_a_400_before_a_stream_starts(api):
    response = ask(api, stream=True, logit_bias={"13": 1})
    assert response.status_code == 400
    assert "no token 13" in error_of(response)["message"]


def test_more_choices_than_the_queue_holds(api):
    response = ask(api, "/v1/completions", prompt=["x"] * 2, n=128)
    assert response.status_code == 400
    assert "at most 128" in error_of(response)["message"]


def test_null_and_unknown_fields_mean_the_default(api):
    assert ask(api, temperature=None, stop=None, n=None, store=True, tools=[]).status_code == 200
