"""Parquet and Arrow with every type of list, and values that JSON does not know."""

import datetime
import struct
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from align.data.readers.tables import table_rows
from align.data.user_rows import read_rows
from align.errors import DataError
from tests.align.data.written import refusal

TURN = {"role": "user", "content": "hi"}
STRUCT = pa.struct([("role", pa.string()), ("content", pa.large_string())])


@pytest.mark.parametrize(
    "of",
    [
        pa.list_(STRUCT),
        pa.large_list(STRUCT),
        pa.list_(STRUCT, 2),
        pa.list_(pa.map_(pa.string(), pa.string())),
    ],
    ids=["list", "large", "fixed", "maps"],
)
def test_messages_of_each_type_of_list(tmp_path: Path, of: pa.DataType) -> None:
    value = [tuple(TURN.items())] * 2 if pa.types.is_map(of.value_type) else [TURN, TURN]
    table = pa.table({"messages": pa.array([value, None], type=of)})
    parquet.write_table(table, tmp_path / "rows.parquet")
    rows = read_rows(tmp_path / "rows.parquet")
    assert rows == {1: {"messages": [TURN, TURN]}, 2: {"messages": None}}


def test_messages_as_a_struct_of_lists() -> None:
    columns = {
        "conversations": [{"from": ["human", "gpt"], "value": ["hi", None]}, None],
        "scores": [{"helpful": [1, 2]}, {"helpful": []}],
    }
    assert list(table_rows("rows", pa.table(columns)).values()) == [
        {
            "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": None}],
            "scores": {"helpful": [1, 2]},
        },
        {"conversations": None, "scores": {"helpful": []}},
    ]


def test_a_list_view_and_a_dictionary(tmp_path: Path) -> None:
    table = pa.table(
        {
            "messages": pa.array([[TURN]], type=pa.list_view(STRUCT)),
            "prompt": pa.array(["p"]).dictionary_encode(),
        }
    )
    with (
        pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    assert read_rows(tmp_path / "rows.arrow") == {1: {"messages": [TURN], "prompt": "p"}}


@pytest.mark.parametrize("kind", ["stream", "feather", "parquet named jsonl"])
def test_a_file_is_read_by_its_content(tmp_path: Path, kind: str) -> None:
    table, path = pa.table({"prompt": ["a", "b"]}), tmp_path / "rows.arrow"
    if kind == "stream":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    elif kind == "feather":
        path = tmp_path / "rows.feather"
        feather.write_feather(table, path, compression="zstd")
    else:
        path = tmp_path / "rows.jsonl"
        parquet.write_table(table, path)
    assert list(read_rows(path).values()) == [{"prompt": "a"}, {"prompt": "b"}]


def test_values_are_those_that_json_knows() -> None:
    moment = datetime.datetime(2026, 11, 30, 12, 30)
    table = pa.table(
        {
            "whole": [Decimal("7.00"), None],
            "part": [Decimal("7.25"), None],
            "score": [0.5, float("nan")],
            "scores": [[1.0, float("nan")], None],
            "day": [moment.date(), None],
            "moment": [moment, None],
            "took": [datetime.timedelta(seconds=90), None],
            "text": ["über".encode(), None],
            "image": [b"\x89PNG", None],
            "__index_level_0__": [4, 9],
        }
    )
    first, second = table_rows("rows", table).values()
    assert first == {
        "whole": 7,
        "part": 7.25,
        "score": 0.5,
        "scores": [1.0, None],
        "day": "2026-11-30",
        "moment": "2026-11-30T12:30:00",
        "took": "0:01:30",
        "text": "über",
        "image": b"\x89PNG",
    }
    assert set(second.values()) == {None}


def test_a_named_index_is_a_column(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"prompt": ["a", None, "c"]}, index=[3, 5, 8])
    frame.to_parquet(tmp_path / "unnamed.parquet")
    assert list(read_rows(tmp_path / "unnamed.parquet").values()) == [
        {"prompt": "a"},
        {"prompt": None},
        {"prompt": "c"},
    ]
    frame.rename_axis("id").to_parquet(tmp_path / "named.parquet")
    assert read_rows(tmp_path / "named.parquet")[3] == {"prompt": "c", "id": 8}


def test_a_folder_in_the_path_adds_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "language=en"
    folder.mkdir()
    parquet.write_table(pa.table({"prompt": ["a"]}), folder / "rows.parquet")
    assert read_rows(folder / "rows.parquet") == {1: {"prompt": "a"}}


def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    halves = pa.array([b"a", b"\xed\xa0\xbd"], type=pa.binary()).view(pa.string())
    with pytest.raises(DataError, match="rows: row 2: column 'prompt' holds text that is not UTF"):
        table_rows("rows", pa.table({"prompt": halves}))
    with pytest.raises(DataError, match="more than one column has the name 'a'"):
        table_rows("rows", pa.table([["x"], ["y"]], names=["a", "a"]))
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"prompt": ["a"] * 100}), path)
    path.write_bytes(path.read_bytes()[:-40])
    assert refusal(path).startswith("not Parquet, or cut or damaged: ")


def test_damaged_offsets_of_text_are_refused_before_they_are_followed() -> None:
    offsets = pa.py_buffer(struct.pack("<3i", 0, 2**30, 4))
    texts = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"abcd")])
    with pytest.raises(DataError, match="rows: column 'prompt' is damaged"):
        table_rows("rows", pa.table({"prompt": texts}))
