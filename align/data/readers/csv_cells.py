"""Cells of CSV that hold lists of messages: as JSON, or as pandas writes Python's lists."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from align.data.row_numbers import Row, numbers, shortened
from align.errors import DataError

_MESSAGES = re.compile(r"""\s*\[\s*\{\s*(['"])(role|content|from|value)\1\s*:""")


def with_messages(source: str, rows: dict[int, Row]) -> dict[int, Row]:
    """The rows, with lists in place of text in columns whose cells all begin as messages do.

    Empty cells become None there. DataError, which begins with `source`, names rows whose cells
    begin so, but are no lists. In other columns, JSON remains text.
    """
    columns = next(iter(rows.values()), {})
    for column in columns:
        first = next((row[column] for row in rows.values() if row[column].strip()), "")
        if not _MESSAGES.match(first):
            continue
        cells = {number: row[column] for number, row in rows.items() if row[column].strip()}
        if all(_MESSAGES.match(cell) for cell in cells.values()):
            turns = _parsed(source, column, cells)
            for number, row in rows.items():
                row[column] = turns.get(number)
    return rows


def _parsed(source: str, column: str, cells: dict[int, str]) -> dict[int, list[Any]]:
    turns: dict[int, list[Any]] = {}
    wrong: list[int] = []
    for number, cell in cells.items():
        value = _list(cell)
        if value is None:
            wrong.append(number)
        else:
            turns[number] = value
    if wrong:
        raise DataError(
            f"{source}: {numbers(wrong)}: column {column!r} should hold a list of messages as "
            f"JSON; got {shortened(cells[wrong[0]])}; write cells by json.dumps, or a JSONL file"
        )
    return turns


def _list(cell: str) -> list[Any] | None:
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(cell.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, list) else None
    return None
