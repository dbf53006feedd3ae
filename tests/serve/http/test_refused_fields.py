"""Fields that would change an answer are refused by name; those that ask for nothing are not."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from serve.http.messages import Body, Message
from serve.http.refused_fields import (
    CHAT,
    COMPLETION,
    MESSAGE,
    SCORE,
    TOKENIZE,
    RefusedField,
)
from serve.http.schemas import ChatRequest, CompletionRequest, ScoreRequest, TokenizeRequest
from tests.serve.serve_fakes import ask

HELLO = {"role": "user", "content": "hello"}


def refusal(response: Any) -> dict[str, Any]:
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == "unsupported_parameter"
    assert error["type"] == "invalid_request_error"
    return error


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("best_of", 3, "n completions"),
        ("prompt_logprobs", 1, "logprobs"),
        ("prompt_logprobs", 0, "logprobs"),
        ("guided_json", {}, "in a message"),
        ("json_schema", {}, "in a message"),
        ("web_search_options", {}, "tools in a message"),
        ("guided_json", {"type": "object"}, "in a message"),
        ("guided_choice", ["a"], "in a message"),
        ("structured_outputs", {"choice": ["a"]}, "in a message"),
        ("response_format", {"type": "json_object"}, "in a message"),
        ("tools", [{"type": "function"}], "tools in a message"),
        ("tool_choice", "required", "tools"),
        ("functions", [{}], "tools"),
        ("function_call", {"name": "f"}, "tools"),
        ("logits_processors", ["x"], "temperature"),
        ("prompt_embeds", "AA==", "text"),
        ("truncate_prompt_tokens", 10, "/tokenize"),
        ("bad_words", ["x"], "logit_bias"),
        ("allowed_token_ids", [1], "logit_bias"),
        ("length_penalty", 0.5, "temperature"),
        ("use_beam_search", True, "temperature"),
        ("include_stop_str_in_output", True, "logprobs"),
        ("skip_special_tokens", False, "logprobs"),
        ("return_token_ids", True, "logprobs"),
        ("typical_p", 0.9, "temperature"),
        ("mirostat", 2, "temperature"),
        ("dry_multiplier", 0.8, "temperature"),
        ("repeat_penalty", 1.1, "repetition_penalty"),
        ("grammar", "root ::= x", "in a message"),
        ("reasoning_effort", "low", "chat_template_kwargs"),
        ("verbosity", "low", "chat_template_kwargs"),
        ("modalities", ["text", "audio"], "text"),
        ("documents", [{"text": "x"}], "message"),
        ("chat_template", "{{ x }}", "/v1/completions"),
        ("max_new_tokens", 5, "max_tokens"),
        ("n_predict", 5, "max_tokens"),
        ("stop_sequences", ["x"], "use stop"),
        ("options", {"num_ctx": 9}, "fields of the body"),
        ("extra_body", {"top_k": 1}, "fields of the body"),
        ("random_seed", 3, "use seed"),
        ("repeat_last_n", 16, "all tokens"),
        ("sampling_params", {"n": 2}, "fields of the body"),
        ("adapter_id", "me/lora", "the model"),
        ("lora", [{"id": 0, "scale": 1.0}], "the model"),
        ("do_sample", False, "temperature"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(
    api: TestClient, name: str, value: Any, instead: str
) -> None:
    error = refusal(ask(api, **{name: value}))
    assert error["param"] == name
    assert error["message"].startswith(f"{name}: is not supported by this service")
    assert instead in error["message"]


@pytest.mark.parametrize(
    ("kind", "fields", "own"),
    [
        (ChatRequest, CHAT, {"messages": [HELLO]}),
        (CompletionRequest, COMPLETION, {"prompt": "hello"}),
        (TokenizeRequest, TOKENIZE, {"messages": [HELLO]}),
        (ScoreRequest, SCORE, {"messages": [HELLO]}),
        (Message, MESSAGE, HELLO),
    ],
)
def test_what_asks_for_nothing_is_accepted_and_not_named_as_unknown(
    kind: type[Body], fields: dict[str, RefusedField], own: dict[str, Any]
) -> None:
    for name, field in fields.items():
        for value in (None, *field.neutral):
            body = kind.model_validate({"model": "base", **own, name: value})
            assert name not in body.ignored


@pytest.mark.parametrize("fields", [{"best_of": 1}, {"best_of": 2, "n": 2}, {"best_of": None}])
def test_the_best_of_as_many_as_are_returned_is_neutral(
    api: TestClient, fields: dict[str, Any]
) -> None:
    assert ask(api, "/v1/completions", prompt="x", **fields).status_code == 200


def test_a_completion_refuses_what_is_for_chats_and_echoes_nothing(api: TestClient) -> None:
    for name, value in {
        "echo": True, "suffix": "x", "continue_final_message": True,
        "chat_template_kwargs": {"a": 1}, "add_special_tokens": False,
    }.items():  # fmt: skip
        assert refusal(ask(api, "/v1/completions", prompt="x", **{name: value}))["param"] == name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tool_calls", [{"id": "a"}]), ("function_call", {"name": "f"}), ("refusal", "No"),
        ("audio", {"id": "a"}), ("prefix", True), ("images", ["AA=="]),
    ],
)  # fmt: skip
def test_fields_of_a_message_are_refused_with_their_place(
    api: TestClient, field: str, value: Any
) -> None:
    messages = [HELLO, {"role": "assistant", "content": "x", field: value}, HELLO]
    assert refusal(ask(api, messages=messages))["param"] == f"messages[1].{field}"
    scored = api.post("/v1/score", json={"model": "arithmetic/reward:1", "messages": messages})
    assert refusal(scored)["param"] == f"messages[1].{field}"
    assert field in MESSAGE


@pytest.mark.parametrize("name", sorted({*SCORE} - {"continue_final_message"}))
def test_scores_refuse_what_would_change_them(api: TestClient, name: str) -> None:
    body = {"model": "arithmetic/reward:1", "messages": [HELLO], name: "x"}
    assert refusal(api.post("/v1/score", json=body))["param"] == name


@pytest.mark.parametrize("name", sorted(TOKENIZE))
def test_counts_of_tokens_refuse_what_would_change_them(api: TestClient, name: str) -> None:
    body = {"messages": [HELLO], name: "x"}
    assert refusal(api.post("/tokenize", json=body))["param"] == name


#: Bodies as real clients send them by default.
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "hello"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}

CHATS: dict[str, dict[str, Any]] = {
    "openai-python": {"messages": [USER], "temperature": 0.2, "store": False, "metadata": {}},
    "openai-python streaming": {"messages": [SYSTEM, USER], **STREAM},
    "LangChain": {
        "messages": [{"content": "Be brief.", "role": "system"}, {"content": "hi", "role": "user"}],
        "n": 1, "temperature": 0.7, "stream": False, "presence_penalty": None, "logprobs": None,
        "frequency_penalty": None, "seed": None, "stop": None, "logit_bias": None, "top_p": None,
        "max_completion_tokens": 20, "reasoning_effort": None,
    },
    "LangChain streaming": {"messages": [USER], "n": 1, **STREAM},
    "LlamaIndex": {
        "messages": [PARTS], "temperature": 0.1, "max_tokens": 20, "stream": False, "stop": None,
    },
    "LiteLLM": {
        "messages": [USER], "user": "team-1", "metadata": {"tags": []}, "stream": False,
        "service_tier": None, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    },
    "Vercel AI SDK": {
        "messages": [SYSTEM, PARTS], "temperature": 0, "max_tokens": 20, **STREAM,
    },
    "Open WebUI": {
        "messages": [USER], "stream": True, "features": {"web_search": False}, "metadata": {},
        "chat_id": "c", "id": "m", "session_id": "s", "background_tasks": {"title": True},
        "model_item": {"id": "base"}, "tool_servers": [], "files": [], "options": {},
    },
    "Continue": {
        "messages": [PARTS], "max_tokens": 20, "stream": True, "stop": ["\n\n"], "top_k": None,
        "prediction": None, "response_format": None, "tools": None, "n": 1,
    },
    "instructor": {"messages": [SYSTEM, USER], "response_format": {"type": "text"}, "seed": 1},
    "a script for vLLM": {
        "messages": [USER], "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.05, "best_of": None,
        "skip_special_tokens": True, "spaces_between_special_tokens": True, "ignore_eos": False,
        "use_beam_search": False, "length_penalty": 1.0, "early_stopping": False, "min_tokens": 0,
        "include_stop_str_in_output": False, "add_generation_prompt": True, "prompt_logprobs": None,
        "stop_token_ids": [], "guided_json": None, "echo": False, "add_special_tokens": False,
        "truncate_prompt_tokens": None, "priority": 0, "continue_final_message": False,
        "chat_template_kwargs": {}, "documents": None, "parallel_tool_calls": False,
    },
    "a script for llama.cpp": {
        "messages": [USER], "cache_prompt": True, "typical_p": 1.0, "repeat_penalty": 1.0,
        "dry_multiplier": 0.0, "dry_base": 1.75, "xtc_probability": 0.0, "xtc_threshold": 0.1,
        "mirostat": 0, "mirostat_tau": 5.0, "grammar": "", "samplers": None,
        "top_n_sigma": -1, "repeat_last_n": 64,
    },
}  # fmt: skip


@pytest.mark.parametrize("client", CHATS)
def test_the_default_body_of_a_client_is_answered(api: Any, client: str) -> None:
    response = ask(api, **CHATS[client])
    assert response.status_code == 200, response.text


def test_a_continuation_of_a_client_is_answered(api: Any) -> None:
    response = ask(
        api, "/v1/completions", prompt="x", max_tokens=5, temperature=0, logprobs=None, echo=False,
        n=1, best_of=1, suffix=None, add_special_tokens=True, stream=False, stop=None,
    )  # fmt: skip
    assert response.status_code == 200, response.text
