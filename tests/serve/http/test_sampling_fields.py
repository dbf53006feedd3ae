"""Every sampling parameter can be sent in a body, and reaches the engine."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from align.errors import RequestError
from align.inference.request_limits import check_request
from align.inference.sampling_params import PARAMETERS, SamplingParams
from align.inference.types import GenerationRequest
from serve.http.schemas import ChatRequest


def chat(api: TestClient, **body: Any) -> Any:
    messages = [{"role": "user", "content": "hello"}]
    return api.post("/v1/chat/completions", json={"model": "base", "messages": messages, **body})


def test_every_sampling_parameter_reaches_the_engine(api, engine):
    answer = chat(
        api, temperature=0.5, top_p=0.9, top_k=3, presence_penalty=0.5, frequency_penalty=-2,
        min_p=0.05, repetition_penalty=1.2,
        logit_bias={"7": -100}, stop=["x"], stop_token_ids=[4, 5], seed=8, n=2,
        min_tokens=2, max_tokens=9, ignore_eos=True, logprobs=True, top_logprobs=6,
    )  # fmt: skip
    assert answer.status_code == 200
    expected = {
        "temperature": 0.5, "top_p": 0.9, "top_k": 3, "presence_penalty": 0.5,
        "min_p": 0.05, "repetition_penalty": 1.2,
        "frequency_penalty": -2, "logit_bias": {7: -100}, "stop": ("x",), "stop_ids": (4, 5),
        "min_new_tokens": 2, "ignore_eos": True, "logprobs": 6, "n": 1,
    }  # fmt: skip
    for request, seed in zip(engine.requests, (8, 9), strict=True):  # a request for each of n
        assert request.sampling() == {**expected, "seed": seed}


def test_null_stands_for_the_default_of_every_sampling_parameter(api, engine):
    names = set(ChatRequest.model_fields) - {"model", "messages"}
    assert chat(api, **dict.fromkeys(names)).status_code == 200
    assert engine.requests[-1].sampling() == SamplingParams(temperature=1.0).sampling()


@pytest.mark.parametrize("name", [one.name for one in PARAMETERS if "bounds" in one.metadata])
def test_bodies_and_the_engine_refuse_what_is_out_of_bounds(api, name):
    value = 10**30
    if name not in ("temperature", "top_k"):  # which the engine does not limit
        request = GenerationRequest((1,), **{name: value})
        with pytest.raises(RequestError, match=f"{name} is {value}: it must be "):
            check_request(request, vocabulary=2, slot_tokens=80, reward=False)
    answer = chat(api, **{name: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
