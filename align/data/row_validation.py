"""Validation of rows in TRL's formats; errors name the rows' numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from align.data.user_rows import Row, numbers
from align.errors import DataError

ROLES = ("system", "user", "assistant", "tool")
#: A label of the column `label`, in lower case, and what it means.
LABELS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def check_rows(
    source: str, rows: dict[int, Row], columns: Iterable[str], optional: Iterable[str] = ()
) -> None:
    """DataError with the rows that have no valid value in one of `columns`.

    `source` begins the message. Columns of `optional` may be empty. A column `prompt` is always
    checked if it exists; without it, `chosen` and `rejected` must have a common beginning.
    """
    checked, optional = set(columns), set(optional)
    if "prompt" in next(iter(rows.values())):
        checked.add("prompt")
    for column in sorted(checked):
        filled = {n: row for n, row in rows.items() if column not in optional or row.get(column)}
        _refuse(source, filled, partial(_complaint, column))
        kinds = {type(row[column]) for row in rows.values()}
        if len(kinds) > 1 and column not in ("answer", "label"):
            raise DataError(
                f"{source}: column '{column}' is text in some rows and messages in others"
            )
    if "chosen" in checked and "prompt" not in checked:
        _refuse(source, rows, _no_prompt)
    if "label" in checked and len({as_label(row["label"]) for row in rows.values()}) < 2:
        only = str(as_label(next(iter(rows.values()))["label"])).lower()
        if len(rows) > 1:
            raise DataError(f"{source}: every label is {only}; kto needs good and bad answers")


def as_label(value: Any) -> bool | None:
    """The label as a Boolean, true for a good answer; None if `value` is no label."""
    is_scalar = isinstance(value, str | bool | int | float)
    return LABELS.get(str(value).strip().lower()) if is_scalar else None


def plain_prompt(row: Row) -> str:
    """The common beginning of the texts `chosen` and `rejected`, up to a space, as in TRL."""
    prefix = os.path.commonprefix([row["chosen"], row["rejected"]])  # noqa: RUF071, characters
    return prefix[: prefix.rfind(" ") + 1]


def _refuse(source: str, rows: dict[int, Row], complain: Callable[[Row], str]) -> None:
    complaints: dict[str, list[int]] = {}
    for number, row in rows.items():
        if complaint := complain(row):
            complaints.setdefault(complaint, []).append(number)
    if complaints:
        messages = (
            f"{numbers(row_numbers)}: {text}" for text, row_numbers in list(complaints.items())[:5]
        )
        raise DataError(f"{source}: " + "; ".join(messages))


def _complaint(column: str, row: Row) -> str:
    value = row.get(column)
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        return f"column '{column}' is empty"
    if column == "label":
        is_label = as_label(value) is not None
        return (
            "" if is_label else f"column 'label' must be true or false (or 1 or 0); got {value!r}"
        )
    if column == "answer":
        is_scalar = isinstance(value, str | int | float)
        return "" if is_scalar else "column 'answer' must be text or a number"
    if isinstance(value, str):
        return "column 'messages' must be a list of messages" if column == "messages" else ""
    if not isinstance(value, list) or not all(_is_message(message) for message in value):
        return (
            f"column '{column}' must be text or a list of "
            f"{{role, content}} messages with role {', '.join(ROLES)}"
        )
    return _wrong_turns(column, [message["role"] for message in value])


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("role") in ROLES
        and isinstance(value.get("content"), str)
    )


def _wrong_turns(column: str, roles: list[str]) -> str:
    if column == "prompt":
        return "" if roles[-1] != "assistant" else "column 'prompt' ends with the assistant's turn"
    if roles[-1] != "assistant":
        return f"column '{column}' must end with the assistant's turn"
    if column == "messages" and len(roles) < 2:
        return "column 'messages' needs a turn before the assistant's"
    return ""


def _no_prompt(row: Row) -> str:
    """Why `chosen` and `rejected` do not contain a common prompt; empty if they do."""
    if isinstance(row["chosen"], str) != isinstance(row["rejected"], str):
        return "chosen and rejected must both be text, or both be messages"
    if isinstance(row["chosen"], str):
        problem = "chosen and rejected begin apart, so a column 'prompt' is needed"
        return "" if plain_prompt(row).strip() else problem
    shared = row["chosen"][:-1] == row["rejected"][:-1] and len(row["chosen"]) > 1
    return "" if shared else "chosen and rejected must share all messages but the last"
