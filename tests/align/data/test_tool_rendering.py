"""Tools and tool calls that a base's template does not show are named before training."""

from typing import Any

import pytest

from align.base import CHATML
from align.data.lengths import measure_lengths
from align.data.tool_rendering import hidden_tools
from align.errors import DataError
from tests.align.tool_templates import TOOL_TEMPLATE, call, tool_row

#: SmolLM2's own: it has a default system turn, and reads role and content alone.
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ROWS = [tool_row(number) for number in range(6)]


@pytest.mark.parametrize(
    ("template", "hidden"),
    [
        (TOOL_TEMPLATE, {}),
        (CHATML, {"tool calls": [1, 2, 4, 5], "tools": [1, 2, 4, 5]}),
        (SMOLLM2, {"tool calls": [1, 2, 4, 5], "tools": [1, 2, 4, 5]}),
    ],
)
def test_what_a_template_does_not_show_is_counted(
    tokenizer: Any, template: str, hidden: dict[str, list[int]]
) -> None:
    tokenizer.chat_template = template
    assert hidden_tools(tokenizer, ROWS) == hidden
    assert hidden_tools(tokenizer, [ROWS[0], ROWS[3]]) == {}


@pytest.mark.parametrize("template", [CHATML, SMOLLM2])
def test_an_answer_that_is_a_call_is_refused_where_it_would_be_empty(
    tokenizer: Any, template: str
) -> None:
    last = {**ROWS[0], "completion": [call("add", a=1)]}
    tokenizer.chat_template = TOOL_TEMPLATE
    assert measure_lengths(tokenizer, [last, *ROWS], "sft", 512).left_out == 0
    tokenizer.chat_template = template
    with pytest.raises(DataError, match="1 of 7 rows end with a tool call, which the base's chat"):
        measure_lengths(tokenizer, [last, *ROWS], "sft", 512)
    said = {**last, "completion": [{**call("add", a=1), "content": "Let me see."}]}
    assert measure_lengths(tokenizer, [said, *ROWS], "sft", 512).left_out == 0


def test_tools_count_towards_the_length(tokenizer: Any) -> None:
    tokenizer.chat_template = TOOL_TEMPLATE
    bare = {**ROWS[1], "prompt": [{**ROWS[1]["prompt"][0], "tools": ""}, *ROWS[1]["prompt"][1:]]}
    longer, shorter = (
        measure_lengths(tokenizer, [row], "sft", 4096).longest for row in (ROWS[1], bare)
    )
    assert longer > shorter + 50
