"""Rows of CSV in any of its usual dialects."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from align.data.readers.csv_cells import with_messages
from align.data.readers.csv_dialects import CsvDialect, declared_delimiter, dialect_of
from align.data.readers.csv_errors import misplaced_quote
from align.data.readers.csv_header import column_names
from align.data.readers.streams import open_text
from align.data.row_numbers import Row, numbers, shortened
from align.errors import DataError

_SAMPLE_LINES = 200
#: The largest limit of a field's length that csv takes on every platform.
_LONGEST_FIELD = 2**31 - 1


class _Record(NamedTuple):
    """A record's fields, and the number of the line where it begins."""

    line: int
    fields: list[str]


def csv_rows(path: Path) -> dict[int, Row]:
    """The rows by the number of their record, counted from 1 without the header.

    Records without any text are left out, but counted. All values are text, except in columns whose
    cells all hold lists of messages. DataError names the row and the line where it begins.
    """
    with open_text(path, newline="") as lines, _long_fields():
        sample = list(islice(lines, _SAMPLE_LINES))
        complete = len(sample) < _SAMPLE_LINES
        delimiter = declared_delimiter(sample[0]) if sample else None
        if delimiter is not None:
            sample[0] = "\n"  # an empty line, so that lines are counted as they stand in the file
        dialect = dialect_of(sample, complete, delimiter)
        records = list(_records(path, chain(sample, lines), dialect))
    return _rows(path, records, dialect)


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _records(path: Path, lines: Iterable[str], dialect: CsvDialect) -> Iterator[_Record]:
    """All records from the header on, empty records too."""
    read: list[str] = []  # the lines of the record that is being read
    first, begun = 1, False

    def remembered() -> Iterator[str]:
        for line in lines:
            if "\0" in line:
                raise DataError(
                    f"{path}: line {first + len(read)} holds NUL bytes: the file is damaged or no "
                    "text"
                )
            read.append(line)
            yield line

    reader = dialect.reader(remembered(), strict=True)
    while True:
        try:
            fields = next(reader, None)
        except csv.Error:
            raise DataError(f"{path}: not CSV: {misplaced_quote(read, first, dialect)}") from None
        if fields is None:
            return
        begun = begun or _has_text(fields)
        if begun:
            yield _Record(first, fields)
        first += len(read)
        read.clear()


def _has_text(fields: list[str]) -> bool:
    return any(map(str.strip, fields))


def _rows(path: Path, records: list[_Record], dialect: CsvDialect) -> dict[int, Row]:
    if not records:
        return {}
    header, body = records[0].fields, records[1:]
    names = column_names(str(path), header, [record.fields for record in body])
    named = [(index, name) for index, name in enumerate(names) if name is not None]
    rows: dict[int, Row] = {}
    ragged: dict[int, _Record] = {}
    for number, record in enumerate(body, start=1):
        fields = record.fields
        if not _has_text(fields):
            continue
        if len(fields) < len(names) or _has_text(fields[len(names) :]):
            ragged[number] = record
        else:
            rows[number] = {name: fields[index] for index, name in named}
    if ragged:
        raise DataError(f"{path}: {_not_as_many(ragged, header, dialect)}")
    return with_messages(str(path), rows)


def _not_as_many(ragged: dict[int, _Record], header: list[str], dialect: CsvDialect) -> str:
    number, record = next(iter(ragged.items()))
    more = len(record.fields) > len(header)
    remedy = (
        f"put quotes around texts with {dialect.delimiter!r} in them" if more else "complete it"
    )
    return (
        f"{numbers(ragged)}: not as many fields as the header: row {number} (line {record.line}) "
        f"has {len(record.fields)} ({shortened(record.fields)}), the header {len(header)} "
        f"({shortened(header)}); {remedy}"
    )
