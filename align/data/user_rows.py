"""Rows of a user's file with their numbers, which error messages name."""

from __future__ import annotations

import zlib
from pathlib import Path

from align.data.readers.code_pages import not_utf8
from align.data.readers.csv_rows import csv_rows
from align.data.readers.file_kinds import SUFFIXES, check_content, check_name, data_suffix, kind_of
from align.data.readers.json_rows import json_rows
from align.data.readers.streams import check_unpacking, encoding_of, open_bytes, read_head
from align.data.readers.tables import arrow_rows, parquet_rows
from align.data.row_numbers import Row, numbers
from align.errors import DataError

__all__ = ["Row", "numbers", "read_rows"]

_READERS = {"json": json_rows, "csv": csv_rows, "parquet": parquet_rows, "arrow": arrow_rows}


def read_rows(path: Path) -> dict[int, Row]:
    """All rows by number: the line of JSON lines, else counted from 1 without a CSV's header.

    The kind of file is that of its content, which may be compressed; the name decides where the
    content does not. Every row has all columns of the file, in the order of their first appearance;
    a value that a row does not have is None. Empty for a file without rows. DataError names a
    missing or unreadable file, and rows that are malformed.
    """
    if not path.is_file():
        raise DataError(f"{path}: {_no_file(path)}")
    try:
        try:
            return _aligned(_read(path))
        except (DataError, UnicodeDecodeError):
            check_unpacking(path)  # a damaged archive gives damaged rows before it is noticed
            raise
    except UnicodeDecodeError as error:
        if error.encoding != "utf-8":
            reason = f"not {error.encoding} text ({error.reason}); save the file as UTF-8"
            raise DataError(f"{path}: {reason}") from None
        with open_bytes(path) as lines:
            raise DataError(not_utf8(path, lines)) from None
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        raise DataError(
            f"{path}: cannot be unpacked ({error}): the file is damaged or cut; copy it again"
        ) from None


def _no_file(path: Path) -> str:
    if not path.is_dir():
        return "no such file"
    if (path / "state.json").is_file():
        return (
            "a folder of datasets.save_to_disk; make a file of it: datasets.load_from_disk("
            f"{str(path)!r}).to_parquet('rows.parquet')"
        )
    files = sorted(file.name for file in path.iterdir() if data_suffix(file) in SUFFIXES)
    named = f"; name a file in it, such as {files[0]}" if files else ""
    return f"a folder, but a file of rows is needed{named}"


def _read(path: Path) -> dict[int, Row]:
    head = read_head(path)
    check_content(path, head)
    check_name(path)
    if not head:
        return {}
    beginning = head.decode(encoding_of(head), "replace").lstrip("\ufeff")
    return _READERS[kind_of(path, head, beginning)](path)


def _aligned(rows: dict[int, Row]) -> dict[int, Row]:
    """The rows with the same columns in the same order; absent values become None."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    return {
        number: row if list(row) == columns else {column: row.get(column) for column in columns}
        for number, row in rows.items()
    }
