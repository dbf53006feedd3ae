"""The tools that a conversation's model may call, which travel with its first message.

Prompts are joined, counted, cut and rendered in many places, all of which pass messages on whole.
So a row's tools are JSON text under the key `tools` of its first message, and only what applies a
chat template takes them from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, Any]]


def with_tools(messages: Messages, tools: str) -> list[dict[str, Any]]:
    """The messages, of which the first carries `tools` (JSON text of a list; empty: none)."""
    first, rest = dict(messages[0]), [dict(message) for message in messages[1:]]
    return [{**first, "tools": tools} if tools else first, *rest]


def without_tools(messages: Messages) -> tuple[list[Mapping[str, Any]], str | None]:
    """The messages as a chat template takes them, and the tools (JSON text) that they carried."""
    tools = next((message["tools"] for message in messages if message.get("tools")), None)
    if tools is None:
        return list(messages), None
    plain = [{name: message[name] for name in message if name != "tools"} for message in messages]
    return [*plain], tools


def template_arguments(messages: Messages) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:
    """The messages for `apply_chat_template`, and its argument `tools` if they carry any."""
    plain, tools = without_tools(messages)
    return plain, {} if tools is None else {"tools": json.loads(tools)}


def chat_ids(tokenizer: Any, messages: Messages, **options: Any) -> list[int]:
    """Token ids of the messages by the tokenizer's chat template, which gets their tools."""
    plain, tools = template_arguments(messages)
    return list(
        tokenizer.apply_chat_template(plain, tokenize=True, return_dict=False, **tools, **options)
    )
