"""Rows that know their number in the user's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NumberedRow(dict[str, Any]):
    """A row with its `number` in the file or dataset that it is from.

    The number is no column: it enters neither the row's content nor its digest.
    """

    def __init__(self, content: Mapping[str, Any], number: int) -> None:
        super().__init__(content)
        self.number = number


def number_of(row: Mapping[str, Any]) -> int | None:
    """A row's number; None for rows that are generated."""
    return row.number if isinstance(row, NumberedRow) else None
