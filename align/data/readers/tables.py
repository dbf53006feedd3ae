"""Rows of Arrow tables: Parquet, Arrow's files and streams, datasets of the hub."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.data.readers.streams import open_bytes
from align.data.row_numbers import Row, numbers
from align.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns in which pandas stores an index without a name.
_INDEX = re.compile(r"__index_level_\d+__")
#: Names by which a struct of lists is recognised as messages.
_TURNS = ({"role", "content"}, {"from", "value"})
#: Matches the names of types with values that JSON does not know.
_BEYOND_JSON = re.compile("float|double|decimal|date|time|duration|interval|binary|extension")


def parquet_rows(path: Path) -> dict[int, Row]:
    """The rows of a Parquet file, counted from 1. DataError if it cannot be read."""
    from pyarrow import parquet

    with _refusing(path, "Parquet"), open_bytes(path) as stream:
        table = parquet.ParquetFile(stream).read()
    return table_rows(str(path), table)


def arrow_rows(path: Path) -> dict[int, Row]:
    """The rows of an Arrow file or stream, counted from 1. DataError if it cannot be read."""
    import pyarrow as pa

    with open_bytes(path) as stream:
        is_file = stream.read(6) == b"ARROW1"
    with _refusing(path, "Arrow"), open_bytes(path) as stream:
        reader = pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream)
        table = reader.read_all()
    return table_rows(str(path), table)


@contextmanager
def _refusing(path: Path, kind: str) -> Iterator[None]:
    """Errors of pyarrow as DataError. A damaged length may ask for more memory than there is."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, MemoryError) as error:
        reason = (str(error) or "it needs more memory than there is").splitlines()[0]
        raise DataError(f"{path}: not {kind}, or cut or damaged: {reason}") from None


def table_rows(source: str, table: pa.Table) -> dict[int, Row]:
    """The rows of a table, counted from 1, with values as JSON knows them.

    Messages that are stored as a struct of lists become lists of messages, maps objects, decimals
    numbers, dates and times ISO 8601 texts, bytes in UTF-8 texts. NaN, which such tables hold for
    absent values, becomes None, and pandas' index without a name is left out. DataError, which
    begins with `source`, names columns of the same name and texts that are not UTF-8.
    """
    names = [name for name in table.column_names if not _INDEX.fullmatch(name)]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        listed = ", ".join(repr(name) for name in sorted(repeated))
        raise DataError(f"{source}: more than one column has the name {listed}; rename them")
    columns = [_values(source, name, table.column(name)) for name in names]
    return {
        number: dict(zip(names, cells, strict=True))
        for number, cells in enumerate(zip(*columns, strict=True), start=1)
    }


def _values(source: str, name: str, column: pa.ChunkedArray) -> list[Any]:
    _validate(source, name, column)
    kind = str(column.type)
    # Maps as objects take five times as long, even where there are none.
    maps: dict[str, Any] = {"maps_as_pydicts": "strict"} if "map<" in kind else {}
    try:
        values: list[Any] = column.to_pylist(**maps)
    except KeyError as error:
        raise DataError(f"{source}: column {name!r} holds a map with {error.args[0]}") from None
    if _BEYOND_JSON.search(kind):
        values = [_plain(value) for value in values]
    return [_turns(value) for value in values] if _holds_turns(column.type) else values


def _holds_turns(kind: pa.DataType) -> bool:
    """Whether values are messages as a struct of lists, as datasets' Sequence stores them."""
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return False
    fields = {kind.field(index).name: kind.field(index).type for index in range(kind.num_fields)}
    lists = all(pa.types.is_list(of) or pa.types.is_large_list(of) for of in fields.values())
    return lists and any(pair <= fields.keys() for pair in _TURNS)


def _turns(value: dict[str, list[Any]] | None) -> list[dict[str, Any]] | None:
    """A struct of lists as a list of structs. Lists that are absent or shorter give None."""
    if value is None:
        return None
    turns = zip_longest(*(items or () for items in value.values()))
    return [dict(zip(value, turn, strict=True)) for turn in turns]


def _validate(source: str, name: str, column: pa.ChunkedArray) -> None:
    """DataError for damaged values, which would end the process, and for text that is not UTF-8."""
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{source}: column {name!r} is damaged ({reason}); copy or write it again"
            ) from None
        wrong = [number for number, cell in enumerate(column, start=1) if not _is_text(cell)]
        raise DataError(
            f"{source}: {numbers(wrong)}: column {name!r} holds text that is not UTF-8; "
            "write it again from text that is"
        ) from None


def _is_text(cell: pa.Scalar) -> bool:
    try:
        cell.as_py()
    except UnicodeDecodeError:
        return False
    return True


def _plain(value: Any) -> Any:
    """A value of Arrow as JSON's types."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return _decoded(value)
    return value if value is None or isinstance(value, str | int) else str(value)


def _decoded(value: bytes) -> str | bytes:
    """Bytes in UTF-8 as text, which old writers of Parquet do not mark as such; else the bytes."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value
