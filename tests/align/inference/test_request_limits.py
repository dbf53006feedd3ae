"""Requests that an engine cannot serve are refused with one line that says why."""

import math

import pytest

from align.errors import RequestError
from align.inference.request_limits import check_request
from align.inference.types import GenerationRequest


def check(prompt=(1, 2, 3), reward=False, **options):
    request = GenerationRequest(prompt, **options)
    check_request(request, vocabulary=100, slot_tokens=80, reward=reward)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompt": list(range(16))},
        {"prompt": (0, 99), "max_new_tokens": 78},
        {"temperature": 5.0, "top_p": 1e-9, "top_k": 10_000},
        {"presence_penalty": -2, "frequency_penalty": 2.0},
        {"logit_bias": {0: -100, 99: 100.0}},
        {"n": 128, "seed": -(2**63)},
        {"seed": 2**63 - 1, "min_new_tokens": 64, "logprobs": 20},
        {"stop": ("a",) * 16, "stop_ids": (0, 99)},
        {"max_new_tokens": 0, "prompt_logprobs": 3},
        {"max_new_tokens": 5, "prompt_logprobs": 1},
        {"max_new_tokens": 0, "score": True, "reward": True},
    ],
)
def test_these_can_be_served(options):
    check(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": ()}, ["prompt is empty"]),
        ({"prompt": (1, 100)}, ["prompt", "100", "0 to 99"]),
        ({"prompt": (1, -1)}, ["prompt", "-1", "0 to 99"]),
        ({"max_new_tokens": 78}, ["3 prompt", "78", "81", "80", "slot_tokens"]),
        ({"temperature": -0.1}, ["temperature is -0.1"]),
        ({"temperature": math.nan}, ["temperature is nan"]),
        ({"temperature": math.inf}, ["temperature is inf"]),
        ({"top_p": 0.0}, ["top_p is 0.0", "at most 1"]),
        ({"top_p": 1.01}, ["top_p is 1.01", "at most 1"]),
        ({"top_p": math.nan}, ["top_p is nan"]),
        ({"top_k": -1}, ["top_k is -1", "0 (all tokens)"]),
        ({"presence_penalty": 2.1}, ["presence_penalty is 2.1", "-2 to 2"]),
        ({"frequency_penalty": math.nan}, ["frequency_penalty is nan", "-2 to 2"]),
        ({"logit_bias": {100: 1.0}}, ["logit_bias", "100", "0 to 99"]),
        ({"logit_bias": {5: -101}}, ["logit_bias of token 5 is -101", "-100 to 100"]),
        ({"logit_bias": {5: math.nan}}, ["logit_bias of token 5 is nan"]),
        ({"n": 0}, ["n is 0", "1 to 128"]),
        ({"n": 129}, ["n is 129", "1 to 128"]),
        ({"max_new_tokens": -1}, ["max_new_tokens is -1"]),
        ({"min_new_tokens": -1}, ["min_new_tokens is -1", "64"]),
        ({"min_new_tokens": 65}, ["min_new_tokens is 65", "64"]),
        ({"logprobs": -1}, ["logprobs is -1", "0 to 20"]),
        ({"logprobs": 21}, ["logprobs is 21", "0 to 20"]),
        ({"prompt_logprobs": 0}, ["prompt_logprobs is 0", "1 to 3"]),
        ({"prompt_logprobs": 4}, ["prompt_logprobs is 4", "1 to 3"]),
        ({"stop": ("a",) * 17}, ["17 strings", "at most 16"]),
        ({"stop": ("a", "")}, ["empty string"]),
        ({"stop_ids": (100,)}, ["stop_ids", "100", "0 to 99"]),
        ({"seed": 2**63}, ["seed is 9223372036854775808"]),
        ({"seed": 1.5}, ["seed is 1.5", "integer"]),
        ({"max_new_tokens": 0}, ["max_new_tokens is 0", "prompt_logprobs or score"]),
        ({"max_new_tokens": 0, "score": True}, ["the base has no reward head"]),
        ({"max_new_tokens": 0, "score": True, "adapter": "one"}, ["'one' has no reward head"]),
        ({"score": True, "reward": True}, ["max_new_tokens is 64", "set it to 0"]),
    ],
)
def test_these_are_refused(options, words):
    with pytest.raises(RequestError) as caught:
        check(**options)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"prompt": ()}, "the prompt is empty: give at least one token"),
        ({"prompt": (100,)}, "the prompt has token id 100: this model's ids are from 0 to 99"),
        ({"stop_ids": (-1,)}, "stop_ids has token id -1: this model's ids are from 0 to 99"),
        (
            {"logit_bias": {100: 1.0}},
            "logit_bias has token id 100: this model's ids are from 0 to 99",
        ),
        (
            {"stop": ("",)},
            "stop has an empty string: every text would end at once; leave it out",
        ),
        (
            {"max_new_tokens": 0},
            "max_new_tokens is 0, so nothing is asked for: set it to 1 or more, "
            "or ask for prompt_logprobs or score",
        ),
        (
            {"seed": -(2**63) - 1},
            "seed is -9223372036854775809: it must be an integer from -2^63 to 2^63 - 1, "
            "or left out",
        ),
        (
            {"score": True, "reward": True, "max_new_tokens": 1},
            "score reads a prompt and writes nothing, but max_new_tokens is 1: set it to 0",
        ),
    ],
)
def test_a_refusal_names_the_parameter_and_what_is_allowed(options, told):
    with pytest.raises(RequestError) as caught:
        check(**options)
    assert str(caught.value) == told
