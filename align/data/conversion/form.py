"""What a foreign form of rows is: its columns, and the conversion of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from align.data.conversion.values import is_empty

Row = dict[str, Any]
Rows = Mapping[int, Row]


class LeftOut(Exception):
    """A row that has nothing to train on, and why; the message completes "3 of 9 rows …"."""


@dataclass(frozen=True)
class Form:
    """A foreign form, as it was recognised in a file.

    `origins` gives the file's column for each of TRL's. `convert` makes TRL's columns from a row;
    it raises ValueProblem or LeftOut. `used` are the file's columns that are read; the others are
    taken over as they are.
    """

    name: str
    origins: Mapping[str, str]
    used: frozenset[str]
    convert: Callable[[Row], Row]


def first_of(names: Iterable[str], columns: set[str]) -> str:
    """The first of these names that is a column; empty if there is none."""
    return next((name for name in names if name in columns), "")


def sample(rows: Rows, column: str) -> Any:
    """The first value of a column that is not empty; None if there is none."""
    return next((row[column] for row in rows.values() if not is_empty(row.get(column))), None)
