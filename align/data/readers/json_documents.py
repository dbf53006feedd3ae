"""Rows within a single JSON object: a list under some name, or columns."""

from __future__ import annotations

from typing import Any


def unwrapped(rows: dict[int, Any]) -> dict[int, Any]:
    """The rows that a file's only object holds, counted from 1; `rows` if it is itself a row.

    It may hold a list of objects beside other values, lists as columns, or what pandas writes:
    columns whose values stand under the numbers of their rows, or the names of columns beside rows
    that are lists (`orient="split"`).
    """
    (value,) = rows.values()
    if not isinstance(value, dict):
        return rows
    lists = [item for item in value.values() if _are_rows(item)]
    if len(lists) == 1:
        return dict(enumerate(lists[0], start=1))
    if len(lists) > 1:
        return rows
    names, cells = _split(value) or (list(value), _cells(value))
    return {n: dict(zip(names, row, strict=True)) for n, row in enumerate(cells, start=1)} or rows


def _split(value: dict[str, Any]) -> tuple[list[str], list[list[Any]]] | None:
    """The names of columns and the rows in pandas' form `split`; None if it is not that form."""
    names, rows = value.get("columns"), value.get("data")
    if not value.keys() <= {"columns", "index", "data"} or not isinstance(names, list):
        return None
    if not isinstance(rows, list) or not all(isinstance(name, str) for name in names):
        return None
    fit = all(isinstance(row, list) and len(row) == len(names) for row in rows)
    return (names, rows) if fit else None


def _are_rows(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(item, dict) and not _is_message(item) for item in value)
    )


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) and ("role" in item or "from" in item or "type" in item)


def _cells(value: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of columns; none if `value` is no table of at least two columns and rows."""
    parts = list(value.values())
    if len(parts) < 2 or len({len(part) for part in parts if isinstance(part, list | dict)}) != 1:
        return []
    if all(isinstance(part, list) and not any(map(_is_message, part)) for part in parts):
        return list(zip(*parts, strict=True)) if len(parts[0]) > 1 else []
    if not all(isinstance(part, dict) for part in parts):
        return []
    indices = {tuple(part) for part in parts}
    numbered = all(name.isdecimal() for name in parts[0])
    if len(indices) != 1 or not numbered:
        return []
    return list(zip(*(part.values() for part in parts), strict=True))
