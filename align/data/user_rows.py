"""Rows of a user's file with their numbers, which error messages name."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from align.errors import DataError

Row = dict[str, Any]
KINDS = (".jsonl", ".json", ".csv", ".parquet")


def read_rows(path: Path) -> dict[int, Row]:
    """All rows by number: the line of a JSONL file, else counted from 1 without the header.

    Every row has all columns of the file, in the order of their first appearance; a value that a
    row does not have is None. Empty for a file without rows. DataError names a missing or
    unreadable file, and rows that are malformed.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() not in KINDS:
        raise DataError(f"{path}: unknown kind of file; allowed: {', '.join(KINDS)}")
    try:
        rows = _READERS[path.suffix.lower()](path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from None
    return _aligned(rows)


def own_columns(row: Row) -> list[str]:
    """The columns in which a row has a value; absent values and null are no values."""
    return [column for column, value in row.items() if value is not None]


def numbers(rows: Iterable[int]) -> str:
    """`row 3`, or `rows 3, 8, 9 and 4 more`."""
    listed = list(rows)
    shown = ", ".join(str(number) for number in listed[:3])
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"row{'s' if len(listed) > 1 else ''} {shown}{more}"


def _aligned(rows: dict[int, Row]) -> dict[int, Row]:
    """The rows with the same columns in the same order; absent values become None."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    return {
        number: row if list(row) == columns else {column: row.get(column) for column in columns}
        for number, row in rows.items()
    }


def _jsonl(path: Path) -> dict[int, Row]:
    rows = {}
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                rows[number] = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{path}: row {number} is not JSON ({error.msg}): {line.strip()[:60]}"
                ) from None
    return _objects(path, rows)


def _json(path: Path) -> dict[int, Row]:
    text = path.read_text(encoding="utf-8-sig")
    if not text.lstrip().startswith("["):
        return _jsonl(path)
    try:
        return _objects(path, dict(enumerate(json.loads(text), start=1)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not a JSON list: {error}") from None


def _objects(path: Path, rows: dict[int, Any]) -> dict[int, Row]:
    malformed = [number for number, row in rows.items() if not isinstance(row, dict)]
    if malformed:
        raise DataError(f'{path}: {numbers(malformed)}: not an object such as {{"prompt": "…"}}')
    return rows


def _csv(path: Path) -> dict[int, Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = dict(enumerate(csv.DictReader(file, strict=True), start=1))
        except csv.Error as error:
            raise DataError(f"{path}: not CSV: {error}") from None
    ragged = [number for number, row in rows.items() if None in row or None in row.values()]
    if ragged:
        raise DataError(f"{path}: {numbers(ragged)}: not as many fields as the header")
    return rows


def _parquet(path: Path) -> dict[int, Row]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return dict(enumerate(parquet.read_table(path).to_pylist(), start=1))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not Parquet: {str(error).splitlines()[0]}") from None


_READERS = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
