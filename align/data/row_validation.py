"""Validation of rows in TRL's formats; errors name the rows' numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from align.data.conversion.labels import EXPECTED, as_label
from align.data.conversion.messages import ROLES, SYSTEMS
from align.data.row_numbers import Row, numbers, shortened
from align.errors import DataError

#: What is wrong with a row, and the value that is wrong; None if nothing is.
Complaint = tuple[str, Any] | None
#: How many columns of a row's own a complaint about an empty column names.
_MOST_STRAYS = 2


def check_rows(
    source: str,
    rows: dict[int, Row],
    columns: Iterable[str],
    optional: Iterable[str] = (),
    origins: Mapping[str, str] | None = None,
) -> None:
    """DataError with the rows that have no valid value in one of `columns`.

    `source` begins the message. Columns of `optional` may be empty. A column `prompt` is always
    checked if it exists; without it, `chosen` and `rejected` must have a common beginning.
    `origins` gives the file's names of columns, which messages use.
    """
    checked, optional, origins = set(columns), set(optional), origins or {}
    if "prompt" in next(iter(rows.values())):
        checked.add("prompt")
    for column in sorted(checked):
        filled = {n: row for n, row in rows.items() if column not in optional or row.get(column)}
        named = origins.get(column, column)
        lacking = any(row.get(column) is None for row in filled.values())
        strays = _strays(column, rows) if lacking else []
        _refuse(source, filled, partial(_complaint, column, named, strays))
        kinds = {type(row[column]) for row in rows.values()}
        if len(kinds) > 1 and column not in ("answer", "label"):
            raise DataError(
                f"{source}: column '{named}' is text in some rows and messages in others; write "
                "all of them as messages"
            )
    if "chosen" in checked and "prompt" not in checked:
        _refuse(source, rows, _no_prompt)
    if "label" in checked and len({as_label(row["label"]) for row in rows.values()}) < 2:
        only = str(as_label(next(iter(rows.values()))["label"])).lower()
        if len(rows) > 1:
            raise DataError(f"{source}: every label is {only}; kto needs good and bad answers")


def plain_prompt(row: Row) -> str:
    """The common beginning of the texts `chosen` and `rejected`, up to a space, as in TRL."""
    prefix = os.path.commonprefix([row["chosen"], row["rejected"]])  # noqa: RUF071, characters
    return prefix[: prefix.rfind(" ") + 1]


def _strays(column: str, rows: Mapping[int, Row]) -> list[str]:
    """Columns that no row has beside `column`, which may be other spellings of it."""
    having = [row for row in rows.values() if row.get(column) is not None]
    if not having:
        return []
    beside = {name for row in having for name, value in row.items() if value is not None}
    return [name for name in next(iter(rows.values())) if name != column and name not in beside]


def _refuse(source: str, rows: dict[int, Row], complain: Callable[[Row], Complaint]) -> None:
    complaints: dict[str, tuple[list[int], Any]] = {}
    for number, row in rows.items():
        if complaint := complain(row):
            text, value = complaint
            complaints.setdefault(text, ([], value))[0].append(number)
    if complaints:
        messages = (
            f"{numbers(row_numbers)}: {text}; got {shortened(value)}"
            for text, (row_numbers, value) in list(complaints.items())[:5]
        )
        raise DataError(f"{source}: " + "; ".join(messages))


def _complaint(column: str, named: str, strays: Sequence[str], row: Row) -> Complaint:
    value = row.get(column)
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        own = [f"'{name}'" for name in strays if row.get(name) is not None][:_MOST_STRAYS]
        hint = f", and the row has {' and '.join(own)}, which complete rows lack" if own else ""
        return f"column '{named}' is empty{hint}", value
    if column == "label":
        is_label = as_label(value) is not None
        return None if is_label else (f"column '{named}' must be {EXPECTED}", value)
    if column == "answer":
        is_scalar = isinstance(value, str | int | float)
        return None if is_scalar else (f"column '{named}' must be text or a number", value)
    if isinstance(value, str):
        is_text = column != "messages"
        return None if is_text else (f"column '{named}' must be a list of messages", value)
    if not isinstance(value, list) or not all(_is_message(message) for message in value):
        return (
            f"column '{named}' must be text or a list of "
            f"{{role, content}} messages with role {', '.join(ROLES)}",
            value,
        )
    wrong = _wrong_turns(column, named, [message["role"] for message in value])
    return (wrong, value[-1]["role"]) if wrong else None


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("role") in ROLES
        and isinstance(value.get("content"), str)
    )


def _wrong_turns(column: str, named: str, roles: list[str]) -> str:
    if column == "prompt":
        return (
            "" if roles[-1] != "assistant" else f"column '{named}' ends with the assistant's turn"
        )
    if roles[-1] != "assistant":
        alone = f"; for prompts alone, data.columns: {{prompt: {named}}}"
        hint = alone if column == "messages" else ""
        return f"column '{named}' must end with the assistant's turn{hint}"
    if column == "messages" and len(roles) < 2:
        return f"column '{named}' needs a turn before the assistant's"
    return ""


def _no_prompt(row: Row) -> Complaint:
    """Why `chosen` and `rejected` do not contain a common prompt; None if they do."""
    sides = row["chosen"], row["rejected"]
    if isinstance(sides[0], str) != isinstance(sides[1], str):
        return "chosen and rejected must both be text, or both be messages", sides
    if isinstance(sides[0], str):
        problem = "chosen and rejected begin apart, so a column 'prompt' is needed"
        if not plain_prompt(row).strip():
            return problem, sides
        system = next((name for name in SYSTEMS if row.get(name)), None)
        problem = f"column '{system}' belongs before a prompt, which needs a column of its own here"
        return None if system is None else (problem, row[system])
    shared = sides[0][:-1] == sides[1][:-1] and len(sides[0]) > 1
    problem = "chosen and rejected must share all messages but the last"
    return None if shared else (problem, sides)
