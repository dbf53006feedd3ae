"""How chats are rendered, as fields of bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from align.chat_encoder import ChatOptions
from serve.http.schemas import ChatRequest
from tests.serve.serve_fakes import ask

HELLO = {"role": "user", "content": "hello"}
OPENED = [HELLO, {"role": "assistant", "content": "Once upon"}]


def error_of(response: Any) -> dict[str, Any]:
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


def test_a_chat_opens_the_assistants_turn_unless_it_is_told_not_to(api, engine) -> None:
    for fields, generate in (
        ({}, True),
        ({"add_generation_prompt": True, "continue_final_message": False}, True),
        ({"add_generation_prompt": False}, False),
    ):
        assert ask(api, **fields).status_code == 200
        assert engine.chats[-1] == (generate, ChatOptions())


def test_the_last_message_is_continued(api, engine) -> None:
    fields = {"add_generation_prompt": False, "continue_final_message": True}
    assert ask(api, messages=OPENED, **fields).status_code == 200
    assert engine.chats[-1] == (False, ChatOptions(continue_final=True))
    assert api.post("/tokenize", json={"messages": OPENED, **fields}).status_code == 200
    assert engine.chats[-1] == (False, ChatOptions(continue_final=True))


@pytest.mark.parametrize("opened", [{}, {"add_generation_prompt": True}])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/tokenize"])
def test_a_turn_cannot_be_opened_behind_a_message_that_stays_open(api, opened, path) -> None:
    body = {"model": "base", "messages": OPENED, "continue_final_message": True, **opened}
    error = error_of(api.post(path, json=body))
    assert error["param"] == "continue_final_message"
    assert "set add_generation_prompt to false" in error["message"]


def test_a_message_that_only_calls_a_tool_is_refused_for_that(api: TestClient) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]}
    error = error_of(ask(api, messages=[HELLO, call, HELLO]))
    assert "messages[1].content" in error["message"] and "calls of tools" in error["message"]


def test_variables_of_the_template_reach_the_engine(api, engine) -> None:
    variables = {"enable_thinking": False, "date": {"day": 1}}
    assert ask(api, chat_template_kwargs=variables).status_code == 200
    assert engine.chats[-1] == (True, ChatOptions(variables=variables))


def test_variables_have_bounds(api: TestClient) -> None:
    deep: Any = "x"
    for _ in range(20):
        deep = [deep]
    for variables, message in (
        ({"a": deep}, "nested more than 16 deep"),
        ({"a": "x" * 200_000}, "more than 100000 characters"),
        ({str(number): 1 for number in range(33)}, "at most 32"),
        ({"x" * 65: 1}, "at most 64"),
        ([1], "dictionary"),
    ):
        error = error_of(ask(api, chat_template_kwargs=variables))
        assert error["param"].startswith("chat_template_kwargs")
        assert message in error["message"]


def test_names_and_reasoning_are_for_the_template() -> None:
    messages = [{**HELLO, "name": "Ana"}, {**OPENED[1], "reasoning_content": "hm"}]
    body = ChatRequest.model_validate({"model": "base", "messages": messages})
    assert body.job(None).prompts == (
        (
            {"role": "user", "content": "hello", "name": "Ana"},
            {"role": "assistant", "content": "Once upon", "reasoning_content": "hm"},
        ),
    )


def test_fields_of_earlier_answers_that_say_nothing_are_accepted(api: TestClient) -> None:
    answer = {
        "role": "assistant", "content": "hi", "refusal": None, "annotations": [], "audio": None,
        "function_call": None, "tool_calls": None,
    }  # fmt: skip
    assert ask(api, messages=[HELLO, answer, HELLO]).status_code == 200


@pytest.mark.parametrize("role", ["tool", "function"])
def test_a_tools_result_is_refused_with_what_to_do(api: TestClient, role: str) -> None:
    messages = [HELLO, {"role": role, "content": "4", "tool_call_id": "a"}]
    error = error_of(ask(api, messages=messages))
    assert error["param"] == "messages[1].role"
    assert "role 'user'" in error["message"]


def test_parts_of_other_types_are_refused_even_with_a_text(api: TestClient) -> None:
    for part in ({"type": "thinking", "text": "x"}, {"type": "image_url", "text": "x"}):
        error = error_of(ask(api, messages=[{"role": "user", "content": [part]}]))
        assert error["param"] == "messages[0].content"


def test_half_of_a_surrogate_pair_in_a_variable_is_refused(api: TestClient) -> None:
    body = json.dumps({"model": "base", "messages": [HELLO], "chat_template_kwargs": {"a": "#"}})
    response = api.post(
        "/v1/chat/completions",
        content=body.replace("#", "\\ud800"),
        headers={"content-type": "application/json"},
    )
    assert "surrogate" in error_of(response)["message"]
