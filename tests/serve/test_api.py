"""The HTTP interface as its clients see it, over a fake engine and without Ray."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from serve_fakes import ask
from waiting import wait_until

from serve.experiments import VariantSpec


def chunks_of(response: Any) -> list[Any]:
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def test_a_chat_has_the_shape_that_openai_documents(api):
    answer = ask(api).json()
    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    assert (answer["model"], answer["system_fingerprint"]) == ("base", "base")
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "base hears 5 seed 3"
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


def test_every_form_of_a_name_reaches_its_adapter(api, adapters):
    for model, version in {
        "arithmetic/sft:1": adapters.first,
        "arithmetic/sft:2": adapters.second,
        "arithmetic/sft@champion": adapters.first,
        "arithmetic/sft": adapters.first,
    }.items():
        answer = ask(api, model=model).json()
        assert answer["model"] == model
        assert answer["system_fingerprint"] == version.adapter_id
        assert answer["choices"][0]["message"]["content"].startswith(version.adapter_id[:8])


def test_parameters_reach_the_engine(api, engine):
    ask(
        api, max_tokens=9, max_completion_tokens=2, temperature=0.5, top_p=0.9, stop="x",
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": text} for text in "ab"]},
        ],
    )  # fmt: skip
    request = engine.requests[-1]
    assert (request.max_new_tokens, request.temperature, request.top_p) == (2, 0.5, 0.9)
    assert request.stop == ("x",) and len(request.prompt_ids) == len("be briefa\nb")


def test_openais_and_other_servers_parameters_reach_the_engine(api, engine):
    ask(
        api, max_tokens=9, presence_penalty=0.5, frequency_penalty=-2, logit_bias={"7": -100},
        min_tokens=2, stop_token_ids=[4, 5], ignore_eos=True, top_k=3,
    )  # fmt: skip
    request = engine.requests[-1]
    assert (request.presence_penalty, request.frequency_penalty) == (0.5, -2)
    assert request.logit_bias == {7: -100}
    assert (request.min_new_tokens, request.stop_ids, request.top_k) == (2, (4, 5), 3)
    assert request.ignore_eos and request.logprobs is None


WORDS = ["base", " hears", " 5", " seed", " 3"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_chats_token_logprobs(api, stream):
    response = ask(api, logprobs=True, top_logprobs=2, stream=stream)
    choices = [one["choices"][0] for one in (chunks_of(response) if stream else [response.json()])]
    entries = [entry for one in choices if one["logprobs"] for entry in one["logprobs"]["content"]]
    assert [entry["token"] for entry in entries] == WORDS
    assert [entry["logprob"] for entry in entries] == [-1, -2, -3, -4, -5]
    assert bytes(entries[1]["bytes"]) == b" hears"
    assert [one["token"] for one in entries[0]["top_logprobs"]] == ["other 0", "other 1"]
    if stream:  # with the text that they stand for
        for one in choices[1:-1]:
            text = "".join(entry["token"] for entry in one["logprobs"]["content"])
            assert one["delta"]["content"] == text
        assert choices[0]["logprobs"] is None and choices[-1]["logprobs"] is None


def test_logprobs_without_likeliest_tokens_and_none_at_all(api):
    (choice,) = ask(api, logprobs=True).json()["choices"]
    assert choice["logprobs"]["content"][0]["top_logprobs"] == []
    assert ask(api, logprobs=False).json()["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_completions_token_logprobs(api, stream):
    body = {"model": "base", "prompt": "hello", "seed": 3, "logprobs": 1, "stream": stream}
    response = api.post("/v1/completions", json=body)
    choices = [one["choices"][0] for one in (chunks_of(response) if stream else [response.json()])]
    joined: dict[str, list[Any]] = {}
    for one in choices:
        for key, values in (one["logprobs"] or {}).items():
            joined.setdefault(key, []).extend(values)
    assert joined["tokens"] == WORDS
    assert joined["token_logprobs"] == [-1, -2, -3, -4, -5]
    assert joined["top_logprobs"][0] == {"other 0": -9, "base": -1}
    assert joined["text_offset"] == [0, 4, 10, 12, 17]


def test_n_choices(api):
    answer = ask(api, n=3).json()
    assert [one["index"] for one in answer["choices"]] == [0, 1, 2]
    assert len({one["message"]["content"] for one in answer["choices"]}) == 3
    assert answer["usage"]["completion_tokens"] == 15


def test_a_streamed_chat(api):
    chunks = chunks_of(ask(api, stream=True))
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""} and deltas[-1] == {}
    assert "".join(one.get("content", "") for one in deltas) == "base hears 5 seed 3"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in chunks[0]


def test_a_stream_ends_with_usage_where_asked(api):
    chunks = chunks_of(ask(api, stream=True, n=2, stream_options={"include_usage": True}))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15}
    assert {chunk["usage"] for chunk in chunks[:-1]} == {None}
    for index in (0, 1):
        mine = [one["choices"][0] for one in chunks[:-1] if one["choices"][0]["index"] == index]
        assert mine[-1]["finish_reason"] == "stop"


def test_text_completions(api):
    body = {"model": "base", "prompt": ["one", "three"], "max_tokens": 2}
    answer = api.post("/v1/completions", json=body).json()
    assert answer["object"] == "text_completion" and answer["id"].startswith("cmpl-")
    assert [one["text"] for one in answer["choices"]] == ["base hears", "base hears"]
    assert {one["finish_reason"] for one in answer["choices"]} == {"length"}
    assert answer["usage"]["prompt_tokens"] == 8
    chunks = chunks_of(api.post("/v1/completions", json=body | {"prompt": "one", "stream": True}))
    assert "".join(one["choices"][0]["text"] for one in chunks) == "base hears"


def test_models_are_those_that_this_base_can_serve(api, experiments):
    arms = [VariantSpec(name=one, model=one) for one in ("base", "arithmetic/sft")]
    arms = [VariantSpec(name=f"v{i}", model=one.model) for i, one in enumerate(arms)]
    experiments.start("running-one", arms, "v0", 100)
    experiments.start("stopped-one", arms, "v0", 100)
    experiments.stop("stopped-one")
    listed = api.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [one["id"] for one in listed["data"]] == [
        "base", "arithmetic/reward:1",
        "arithmetic/sft:1", "arithmetic/sft@champion", "arithmetic/sft:2",
        "running-one",
    ]  # fmt: skip
    assert all(one["object"] == "model" and one["created"] > 0 for one in listed["data"])
    for name in ("base", "arithmetic/sft", "arithmetic/sft:2", "running-one"):
        assert api.get(f"/v1/models/{name}").json()["id"] == name
    assert api.get("/v1/models/none").status_code == 404


def test_scores(api):
    one, two = ([{"role": "user", "content": text}] for text in ("hi", "hello"))
    both = {"model": "arithmetic/reward:1", "conversations": [one, two]}
    said = api.post("/v1/score", json=both).json()
    assert said["scores"] == [2.0, 5.0]
    assert said["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    single = {"model": "arithmetic/reward:1", "messages": two}
    assert api.post("/v1/score", json=single).json()["scores"] == [5.0]


@pytest.fixture
def trial(experiments):
    arms = [
        VariantSpec(name="control", model="base"),
        VariantSpec(name="treatment", model="arithmetic/sft"),
    ]
    return experiments.start("trial", arms, "control", 100)


def test_an_experiment_answers_each_user_by_one_variant_and_does_not_say_which(
    api, trial, adapters
):
    seen: dict[str, set[str]] = {}
    for user in [f"user-{number}" for number in range(12)] * 2:
        response = ask(api, model="trial", user=user)
        answer = response.json()
        variant = response.headers["x-alignery-variant"]
        who = "base" if variant == "control" else adapters.first.adapter_id[:8]
        assert answer["choices"][0]["message"]["content"].startswith(who)
        assert (answer["model"], answer["system_fingerprint"]) == ("trial", None)
        seen.setdefault(user, set()).add(variant)
    assert {len(variants) for variants in seen.values()} == {1}
    assert set.union(*seen.values()) == {"control", "treatment"}


@pytest.mark.parametrize("stream", [False, True])
def test_feedback_finds_its_way_to_the_variant(api, trial, experiments, stream):
    response = ask(api, model="trial", user="ada", stream=stream)
    identity = chunks_of(response)[0]["id"] if stream else response.json()["id"]
    body = {"request_id": identity, "value": 0.25, "comment": "hm"}
    assert api.post("/v1/feedback", json=body).json()["experiment"] == "trial"
    variant = response.headers["x-alignery-variant"]
    report = experiments.report("trial")
    (mine,) = [one for one in report.variants if one.name == variant]
    assert (mine.users, mine.answers, mine.mean) == (1, 1, 0.25)


def test_without_a_user_each_request_is_its_own_unit(api, trial, experiments):
    for _ in range(12):
        ask(api, model="trial")
    assert sum(one.users for one in experiments.report("trial").variants) == 12


def test_a_refused_request_is_no_exposure(api, trial, experiments):
    assert ask(api, model="trial", max_tokens=500).status_code == 400
    assert sum(one.answers for one in experiments.report("trial").variants) == 0


def test_a_stopped_experiment_names_its_models(api, trial, experiments):
    assert ask(api, model="trial").status_code == 200
    experiments.stop("trial")
    answers = (ask(api, model="trial") for _ in itertools.count())
    response = wait_until(
        lambda: one if (one := next(answers)).status_code == 404 else None,
        "the stopped experiment is refused",
    )
    assert "base or arithmetic/sft:1" in response.json()["error"]["message"]


def test_health(api):
    assert api.get("/healthz").json() == {"status": "ok"}
    assert api.get("/readyz").json() == {"status": "ready"}
    assert api.post("/healthz").status_code == 405
