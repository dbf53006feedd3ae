"""The names of CSV's columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from align.data.row_numbers import shortened
from align.errors import DataError

_SENTENCE = re.compile(r".*\s.*[.?!]", re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
_LONGEST_NAME = 80


def column_names(
    source: str, header: Sequence[str], body: Sequence[Sequence[str]]
) -> list[str | None]:
    """The names in the header, without blanks around them; None for a column to be left out.

    Left out are columns without a name and without values, and a first column without a name that
    counts the rows, which is pandas' index. DataError, which begins with `source`, for other
    columns without a name, for repeated names, and if the header is a row of data.
    """
    names = [name.strip() for name in header]
    _refuse_data(source, [name for name in names if name])
    repeated = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if repeated:
        raise DataError(
            f"{source}: the header names {shortened(repeated[0])} more than once "
            f"({shortened(names)}); rename the columns"
        )
    for index, name in enumerate(names):
        if not name:
            _check_nameless(source, index, [row[index] for row in body if index < len(row)])
    return [name or None for name in names]


def _check_nameless(source: str, index: int, cells: list[str]) -> None:
    """DataError unless the column may be left out."""
    values = [cell for cell in cells if cell.strip()]
    if values and not (index == 0 and _counts(values)):
        raise DataError(
            f"{source}: column {index + 1} has no name in the header, but values such as "
            f"{shortened(values[0])}; name it, or remove the column"
        )


def _counts(values: list[str]) -> bool:
    """Whether these are whole numbers that increase, as an index's do."""
    if not all(value.isdecimal() for value in values):
        return False
    indices = [int(value) for value in values]
    return indices == sorted(set(indices))


def _refuse_data(source: str, names: list[str]) -> None:
    if names and all(_is_data(name) for name in names):
        raise DataError(
            f"{source}: its first line looks like a row, not like names of columns "
            f"({shortened(names)}); put a header such as 'prompt,completion' before it"
        )


def _is_data(name: str) -> bool:
    is_text = len(name) > _LONGEST_NAME or "\n" in name or _SENTENCE.fullmatch(name)
    return bool(is_text or _NUMBER.fullmatch(name) or name.startswith(("[{", "{")))
