"""Rows within a single JSON object: a list under some name, or columns."""

from __future__ import annotations

from typing import Any


def unwrapped(rows: dict[int, Any]) -> dict[int, Any]:
    """The rows that a file's only object holds, counted from 1; `rows` if it is itself a row.

    It may hold a list of objects beside other values, lists as columns, or pandas' columns, whose
    values stand under the numbers of their rows.
    """
    (value,) = rows.values()
    if not isinstance(value, dict):
        return rows
    lists = [item for item in value.values() if _are_rows(item)]
    if len(lists) == 1:
        return dict(enumerate(lists[0], start=1))
    columns = _columns(value)
    if columns is None:
        return rows
    cells = zip(*columns, strict=True)
    return {number: dict(zip(value, row, strict=True)) for number, row in enumerate(cells, start=1)}


def _are_rows(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(item, dict) and not _is_message(item) for item in value)
    )


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) and ("role" in item or "from" in item or "type" in item)


def _columns(value: dict[str, Any]) -> list[list[Any]] | None:
    """The columns' values; None if `value` is no table of at least two columns and rows."""
    parts = list(value.values())
    if len(parts) < 2 or len({len(part) for part in parts if isinstance(part, list | dict)}) != 1:
        return None
    if all(isinstance(part, list) and not any(map(_is_message, part)) for part in parts):
        return parts if len(parts[0]) > 1 else None
    if not all(isinstance(part, dict) for part in parts):
        return None
    indices = {tuple(part) for part in parts}
    numbered = all(name.isdecimal() for name in parts[0])
    return [list(part.values()) for part in parts] if numbered and len(indices) == 1 else None
