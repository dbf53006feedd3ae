"""What a client is told of an error that its job has met."""

from __future__ import annotations

import re

import pytest
from jinja2 import TemplateError

from align.errors import AdapterError, RequestError
from serve.batching.errors import refused_by, too_few, too_long, too_many


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (RequestError("no token 13"), 400, "invalid_value", "no token 13"),
        (
            AdapterError("too large"),
            503,
            "adapter_unavailable",
            "adapter cannot be used: too large",
        ),
        (TemplateError("roles"), 400, "invalid_value", "chat template cannot render .*: roles"),
        (RuntimeError("oom"), 500, "generation_failed", "generation failed: RuntimeError: oom"),
    ],
)
def test_whose_fault_it_was_tells_the_status(error, status, code, message):
    refused = refused_by(error)
    assert (refused.status, refused.code) == (status, code)
    assert re.search(message, refused.message)


def test_the_field_that_an_error_names_is_its_parameter():
    assert refused_by(RequestError("chat_template_kwargs: no 'x'")).param == "chat_template_kwargs"
    assert refused_by(RequestError("the prompt is empty: give one")).param is None


def test_only_what_nobody_expected_is_logged(serve_log):
    refused_by(RequestError("no token 13"))
    assert serve_log.records == []
    refused_by(RuntimeError("out of memory"))
    assert {record.levelname for record in serve_log.records} == {"ERROR"}


def test_a_refusal_says_the_numbers_and_which_field():
    long = too_long(90, 20, 100, "messages")
    assert (long.status, long.code, long.param) == (400, "context_length_exceeded", "messages")
    assert "context is 100 tokens, but the prompt has 90 and 20 more are asked for" in long.message
    assert "more are asked for" not in too_long(101, None, 100, "prompt").message
    assert (too_many(9, 8).param, too_few(5, 4).param) == ("n", "min_tokens")
