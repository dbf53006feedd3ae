"""Messages of ShareGPT and of OpenAI in TRL's form: `role`, `content` and perhaps `tool_calls`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from align.data.conversion.tools import calls_of, legacy_call
from align.data.conversion.values import UnreadableValue, parsed

Message = dict[str, Any]
ROLES = ("system", "user", "assistant", "tool")
#: Columns that hold a whole conversation.
CONVERSATIONS = ("messages", "conversations", "conversation")
#: Columns with the text of a system turn.
SYSTEMS = ("system", "system_prompt", "system_message")
_CALL = "function_call"
#: Names of the roles elsewhere, in lower case.
_SPEAKERS = {
    **{role: role for role in ROLES},
    **dict.fromkeys(("developer", "system_prompt"), "system"),
    **dict.fromkeys(("human", "prompter", "instruction"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "model", "bot", "ai"), "assistant"),
    **dict.fromkeys(("observation", "function", "ipython", "tool_response"), "tool"),
    **dict.fromkeys((_CALL, "tool_call"), _CALL),
}
_ROLE_NAMES = ("role", "from", "speaker")
_CONTENT_NAMES = ("content", "value", "text")
#: A question and its answer as one object, as in the first Capybara.
_EXCHANGE = {"input", "output"}
_TEXT_PARTS = ("text", "input_text", "output_text")


def messages_of(column: str, value: Any) -> list[Message]:
    """The messages of a conversation's column. UnreadableValue if a message cannot be read.

    The value may be JSON text, a single message, or columns of roles and contents (as `datasets`
    stores lists of objects). Messages in TRL's form are left as they are.
    """
    value = parsed(value)
    if isinstance(value, Mapping):
        value = _rows(value)
    if not isinstance(value, list):
        raise UnreadableValue(f"column '{column}' must be a list of messages", value)
    if any(isinstance(turn, Mapping) and turn.keys() >= _EXCHANGE for turn in value):
        value = [message for turn in value for message in _exchange(turn)]
    return [turn if _is_plain(turn) else _message(column, turn) for turn in value]


def holds_messages(value: Any) -> bool:
    """Whether a value is meant as messages rather than as text."""
    value = parsed(value)
    if isinstance(value, Mapping):
        return bool({"role", "from"} & value.keys())
    return isinstance(value, list) and all(isinstance(turn, Mapping) for turn in value)


def role_of(turn: Mapping[str, Any]) -> str | None:
    """The role of a message by TRL's name, `function_call` for ShareGPT's; None if unknown."""
    return _SPEAKERS.get(str(_first(turn, _ROLE_NAMES)).strip().lower())


def with_system(turns: list[Message], system: str) -> list[Message]:
    """The turns after a system turn with this text; as they are if they have a system turn."""
    if not system or (turns and turns[0]["role"] == "system"):
        return turns
    return [{"role": "system", "content": system}, *turns]


def trained_part(column: str, turns: list[Message]) -> list[Message]:
    """The turns up to the last answer that OpenAI's `weight` does not exclude, without weights.

    UnreadableValue if a weight is neither 0 nor 1, or if every answer has weight 0.
    """
    if all(turn.get("weight") is None for turn in turns):
        return turns
    last = 0
    for at, turn in enumerate(turns, start=1):
        weight = turn.get("weight")
        if weight not in (None, 0, 1):
            raise UnreadableValue(f"column '{column}': a message's weight must be 0 or 1", weight)
        if turn["role"] == "assistant" and weight != 0:
            last = at
    answered = any(turn["role"] == "assistant" for turn in turns)
    if answered and not last:
        raise UnreadableValue(
            f"column '{column}': every answer has weight 0, so none is to be trained on; "
            "leave the row out",
            0,
        )
    return [
        {name: value for name, value in turn.items() if name != "weight"}
        for turn in turns[: last or len(turns)]
    ]


def _rows(value: Mapping[str, Any]) -> list[Any]:
    lists = {name: entries for name, entries in value.items() if isinstance(entries, list)}
    if {"role", "from"} & lists.keys() and len({len(entries) for entries in lists.values()}) == 1:
        return [
            dict(zip(lists, entries, strict=True)) for entries in zip(*lists.values(), strict=True)
        ]
    return [value]


def _exchange(turn: Any) -> list[Any]:
    if not isinstance(turn, Mapping) or not turn.keys() >= _EXCHANGE:
        return [turn]
    return [
        {"role": "user", "content": turn["input"]},
        {"role": "assistant", "content": turn["output"]},
    ]


def _is_plain(turn: Any) -> bool:
    return (
        isinstance(turn, dict)
        and turn.get("role") in ROLES
        and isinstance(turn.get("content"), str)
        and not turn.get("tool_calls")
        and not turn.get(_CALL)
    )


def _message(column: str, turn: Any) -> Message:
    if not isinstance(turn, Mapping):
        raise UnreadableValue(f"column '{column}' holds a message that is no object", turn)
    role = role_of(turn)
    if role is None:
        named = _first(turn, _ROLE_NAMES)
        given = "no role" if named is None else "an unknown role"
        raise UnreadableValue(
            f"column '{column}' holds a message with {given}; a message is {{role, content}} "
            f"or {{from, value}}, with role {', '.join(ROLES)} or ShareGPT's names of them",
            turn if named is None else named,
        )
    value = _first(turn, _CONTENT_NAMES)
    if role == _CALL:
        return {"role": "assistant", "content": "", "tool_calls": calls_of(column, value)}
    others = {
        name: part
        for name, part in turn.items()
        if part is not None and name not in (*_ROLE_NAMES, *_CONTENT_NAMES, "tool_calls", _CALL)
    }
    message = {"role": role, "content": value, **others}
    if calls := turn.get("tool_calls") or legacy_call(turn.get(_CALL)):
        message["tool_calls"] = calls_of(column, calls)
    message["content"] = _content(column, value, bool(calls))
    return message


def _first(turn: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((turn[name] for name in names if turn.get(name) is not None), None)


def _content(column: str, value: Any, calls: bool) -> str:
    if isinstance(value, str):
        return value
    if value is None or value == []:
        if calls:
            return ""
        raise UnreadableValue(
            f"column '{column}' holds a message without content, which only a message with "
            "tool_calls may be",
            value,
        )
    if not isinstance(value, list):
        raise UnreadableValue(f"column '{column}' holds a message whose content is no text", value)
    return "".join(_part(column, part) for part in value)


def _part(column: str, part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type", "text") in _TEXT_PARTS:
        text = part.get("text")
        if isinstance(text, str):
            return text
    kind = part.get("type") if isinstance(part, Mapping) else part
    raise UnreadableValue(
        f"column '{column}' holds a part that is no text; only text is trained on, so leave "
        "the row out",
        kind or part,
    )
