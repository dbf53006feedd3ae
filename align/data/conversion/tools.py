"""Tools and their calls, of OpenAI and of ShareGPT, in the form that chat templates read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from align.data.conversion.values import ValueProblem, is_empty, parsed


def tools_of(column: str, value: Any) -> str:
    """The tools of a row as JSON text, which TRL's column `tools` takes; empty if there are none.

    The value is a list of OpenAI's tools or of bare functions, or JSON text of such a list.
    """
    tools = parsed(value)
    if is_empty(tools):
        return ""
    if isinstance(tools, Mapping):
        tools = [tools]
    if not isinstance(tools, list):
        raise ValueProblem(f"column '{column}' must be a list of tools, or JSON text of it", value)
    return json.dumps([_tool(column, parsed(tool)) for tool in tools], ensure_ascii=False)


def calls_of(column: str, value: Any) -> list[dict[str, Any]]:
    """The calls of a message, each `{type, function: {name, arguments}}` and perhaps an `id`.

    Calls are OpenAI's, or ShareGPT's `{name, arguments}` as objects or as JSON text. Arguments
    become objects, which templates write as JSON.
    """
    calls = parsed(value)
    if isinstance(calls, Mapping):
        calls = [calls]
    if not isinstance(calls, list) or not calls:
        raise ValueProblem(f"column '{column}' holds a tool call that is no JSON object", value)
    return [_call(column, parsed(call)) for call in calls]


def legacy_call(value: Any) -> list[Any]:
    """OpenAI's former `function_call` of a message as a list of calls; empty if there is none."""
    return [] if is_empty(value) else [value]


def _tool(column: str, tool: Any) -> dict[str, Any]:
    bare = isinstance(tool, Mapping) and "function" not in tool
    function = tool if bare else isinstance(tool, Mapping) and tool["function"]
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ValueProblem(f"column '{column}' holds a tool without a function's name", tool)
    return {"type": "function", "function": _without_none(function)}


def _call(column: str, call: Any) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ValueProblem(f"column '{column}' holds a tool call without a function's name", call)
    given = function.get("arguments", function.get("parameters"))
    arguments = {} if is_empty(given) else parsed(given)
    if not isinstance(arguments, Mapping):
        raise ValueProblem(
            f"column '{column}' holds a tool call whose arguments are no JSON object", given
        )
    shared = {"id": call["id"]} if call.get("id") else {}
    named = {"name": function["name"], "arguments": dict(arguments)}
    return {**shared, "type": "function", "function": named}


def _without_none(value: Any) -> Any:
    """The value without absent parts of objects, which columns of tools in Parquet have."""
    if isinstance(value, Mapping):
        return {name: _without_none(part) for name, part in value.items() if part is not None}
    return [_without_none(part) for part in value] if isinstance(value, list) else value
