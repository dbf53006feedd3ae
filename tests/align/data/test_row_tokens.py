"""Rows that a chat template cannot render are named with their number and the reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from align.base import CHATML, Base
from align.data.numbered_rows import NumberedRow
from align.data.row_tokens import row_tokens
from align.errors import DataError

#: As Gemma's: no system turn, and user and assistant in turn.
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception("
    "'Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def with_template(base: Base, template: str) -> Any:
    tokenizer = copy.deepcopy(base.tokenizer)
    tokenizer.chat_template = template
    return tokenizer


def row(number: int, *roles: str) -> NumberedRow:
    prompt = [{"role": role, "content": f"{role} {number}"} for role in roles]
    answer = [{"role": "assistant", "content": "yes"}]
    return NumberedRow({"prompt": prompt, "completion": answer}, number)


def test_rows_that_the_template_refuses_are_named_with_its_reason(tiny: Base) -> None:
    gemma = with_template(tiny, GEMMA)
    good = [row(1, "user"), row(2, "user", "assistant", "user")]
    assert len(row_tokens(gemma, good, "sft")) == 2
    bad = [row(4, "system", "user"), row(5, "user", "user"), row(9, "system", "user")]
    assert len(row_tokens(tiny.tokenizer, [*good, *bad], "sft")) == 5
    with pytest.raises(DataError) as caught:
        row_tokens(gemma, [*good, *bad], "sft")
    assert "cannot render 3 of 5 rows: rows 4, 9: System role not supported" in str(caught.value)
    assert "row 5: Conversation roles must alternate" in str(caught.value)


def test_prompts_alone_are_rendered_too(tiny: Base) -> None:
    with pytest.raises(DataError, match="row 3: System role not supported"):
        row_tokens(with_template(tiny, GEMMA), [row(3, "system", "user")], "grpo")


def test_a_template_that_drops_the_answer_is_named(tiny: Base) -> None:
    dropping = CHATML.replace(
        "{% for message in messages %}",
        "{% for message in messages if message['role'] != 'assistant' %}",
    )
    with pytest.raises(DataError, match="row 8: nothing of the answer is rendered"):
        row_tokens(with_template(tiny, dropping), [row(8, "user")], "sft")


def test_a_template_may_fail_in_any_way(tiny: Base) -> None:
    failing = CHATML.replace("message['content']", "message['content'] + 1")
    with pytest.raises(DataError, match=r"cannot render 1 of 1 rows: row 1: .*(str|int)"):
        row_tokens(with_template(tiny, failing), [row(1, "user")], "sft")


def test_generated_rows_are_named_by_their_prompt(tiny: Base) -> None:
    generated = dict(row(1, "system", "user"))
    with pytest.raises(DataError, match="the prompt 'user 1': System role not supported"):
        row_tokens(with_template(tiny, GEMMA), [generated], "sft")
