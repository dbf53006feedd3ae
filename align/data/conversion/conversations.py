"""A column with a conversation, alone or beside pairs, labels or reference answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from align.data.conversion.form import Form, Row, Rows, first_of, sample
from align.data.conversion.messages import (
    CONVERSATIONS,
    Message,
    holds_messages,
    messages_of,
    role_of,
    trained_part,
)
from align.data.conversion.values import ValueProblem, parsed

#: Columns with the right answer to a conversation that ends with a question.
REFERENCES = (
    "answer", "reference_answer", "reference", "ground_truth", "solution", "expected_answer",
    "final_answer",
)  # fmt: skip
_SIDES = ("chosen", "rejected")


def conversations(rows: Rows, columns: set[str], label: str) -> Form | None:
    """The form of a conversation's column; None if there is none.

    `label` is the column with labels of good and bad answers, empty if there is none.
    """
    column = first_of(CONVERSATIONS, columns)
    if not column:
        return None
    if "prompt" in columns:
        return _beside(column)
    if set(_SIDES) <= columns:
        return _pairs(column) if _are_answers(rows, column) else _beside(column)
    if label:
        return _labelled(column, label)
    reference = first_of(REFERENCES, columns)
    if reference and all(_asks(row[column]) for row in rows.values()):
        return _checked(column, reference)
    return _whole(column)


def _whole(column: str) -> Form:
    def convert(row: Row) -> Row:
        return {"messages": _read(column, row[column])}

    name = "" if column == "messages" else "ShareGPT"  # TRL's own column
    return Form(name, {"messages": column}, frozenset({column}), convert)


def _beside(column: str) -> Form:
    """A conversation beside a prompt or pairs: sft reads it, and other methods the rest."""

    def convert(row: Row) -> Row:
        try:
            return {"messages": _read(column, row[column])}
        except ValueProblem:  # only sft would mind
            return {"messages": row[column]}

    return Form("", {"messages": column}, frozenset({column}), convert)


def _pairs(column: str) -> Form:
    def convert(row: Row) -> Row:
        answers = {side: _answer(side, row[side]) for side in _SIDES}
        return {"prompt": messages_of(column, row[column]), **answers}

    origins = {"prompt": column, **{side: side for side in _SIDES}}
    return Form("conversations with two answers", origins, frozenset(origins.values()), convert)


def _labelled(column: str, label: str) -> Form:
    def convert(row: Row) -> Row:
        turns = _read(column, row[column]) or []
        if turns and turns[-1]["role"] != "assistant":
            raise ValueProblem(
                f"column '{column}' must end with the assistant's turn, which '{label}' judges",
                turns[-1]["role"],
            )
        return {"prompt": turns[:-1], "completion": turns[-1:], "label": row[label]}

    origins = {"prompt": column, "completion": column, "label": label}
    return Form("labelled conversations", origins, frozenset({column, label}), convert)


def _checked(column: str, reference: str) -> Form:
    def convert(row: Row) -> Row:
        return {"prompt": messages_of(column, row[column]), "answer": row[reference]}

    origins = {"prompt": column, "answer": reference}
    return Form("conversations with an answer", origins, frozenset(origins.values()), convert)


def _read(column: str, value: Any) -> list[Message] | None:
    """The turns that are trained on; None for an absent conversation."""
    return None if value is None else trained_part(column, messages_of(column, value))


def _answer(side: str, value: Any) -> Any:
    return messages_of(side, value) if holds_messages(value) else value


def _are_answers(rows: Rows, column: str) -> bool:
    """Whether `chosen` and `rejected` answer the conversation, rather than repeat it."""
    return not isinstance(parsed(sample(rows, "chosen")), list) or _asks(sample(rows, column))


def _asks(value: Any) -> bool:
    """Whether a conversation ends with another turn than the assistant's."""
    turns = parsed(value)
    last = turns[-1] if isinstance(turns, list) and turns else None
    return isinstance(last, Mapping) and role_of(last) in ("user", "tool")
