"""Alpaca's rows: `instruction`, `input`, `output`, and LLaMA-Factory's `system` and `history`."""

from __future__ import annotations

from typing import Any

from align.data.conversion.form import Form, Row, first_of
from align.data.conversion.messages import Message
from align.data.conversion.values import ValueProblem, is_empty, optional_text, parsed, text_of

_INPUTS = ("input", "context")
_OUTPUTS = ("output", "response", "completion")


def alpaca(columns: set[str]) -> Form | None:
    """Alpaca's form, or that of its pairs; None if these are not its columns."""
    if "instruction" not in columns or "prompt" in columns:
        return None
    output = first_of(_OUTPUTS, columns)
    if {"chosen", "rejected"} <= columns:
        answers = {"chosen": "chosen", "rejected": "rejected"}
    elif output:
        answers = {"completion": output}
    elif "answer" in columns:
        answers = {"answer": "answer"}
    else:
        return None
    given = first_of(_INPUTS, columns)

    def convert(row: Row) -> Row:
        return {
            "prompt": [*_history(row.get("history")), _question(row, given)],
            **{ours: row[theirs] for ours, theirs in answers.items()},
        }

    used = {"instruction", "history", given, *answers.values()} & columns
    return Form("Alpaca", {"prompt": "instruction", **answers}, frozenset(used), convert)


def _question(row: Row, given: str) -> Message:
    """The instruction and, on the next line, the input, as LLaMA-Factory joins them."""
    parts = [
        text_of("instruction", row["instruction"]),
        optional_text(given, row[given]) if given else "",
    ]
    return {"role": "user", "content": "\n".join(part for part in parts if part)}


def _history(value: Any) -> list[Message]:
    pairs = parsed(value)
    if is_empty(pairs):
        return []
    turns: list[Message] = []
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueProblem("column 'history' must be a list of [question, answer] pairs", pair)
        for role, text in zip(("user", "assistant"), pair, strict=True):
            turns.append({"role": role, "content": text_of("history", text)})
    return turns
