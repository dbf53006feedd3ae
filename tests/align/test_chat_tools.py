"""Tools travel with the first message, and a template gets them apart."""

import json
from typing import Any

import pytest

from align.chat_tools import chat_ids, template_arguments, with_tools, without_tools
from tests.align.tool_templates import TOOL_TEMPLATE, tool

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 3?"}]
TOOLS = json.dumps([tool("add")])


def test_the_first_message_carries_the_tools_and_a_template_gets_them_apart() -> None:
    carried = with_tools(ASK, TOOLS)
    assert [turn.get("tools") for turn in carried] == [TOOLS, None]
    assert without_tools(carried) == (ASK, TOOLS)
    # Worked examples may stand before a row's own messages.
    assert template_arguments([*ASK, *carried]) == ([*ASK, *ASK], {"tools": [tool("add")]})


@pytest.mark.parametrize("tools", ["", None])
def test_messages_without_tools_are_as_they_were(tools: str | None) -> None:
    assert with_tools(ASK, tools or "") == ASK
    assert template_arguments(ASK) == (ASK, {})
    absent = [{**turn, "tools": None} for turn in ASK]  # as a column of messages in Arrow has it
    assert template_arguments(absent)[1] == {}


def test_a_template_that_knows_tools_shows_them(tokenizer: Any) -> None:
    tokenizer.chat_template = TOOL_TEMPLATE
    shown = tokenizer.decode(
        chat_ids(tokenizer, with_tools(ASK, TOOLS), add_generation_prompt=True)
    )
    hidden = tokenizer.decode(chat_ids(tokenizer, ASK, add_generation_prompt=True))
    assert '"name": "add"' in shown
    assert shown.endswith(hidden)
