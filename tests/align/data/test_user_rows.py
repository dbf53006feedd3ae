"""A user's own rows: refused with the row's number where they cannot be used."""

from pathlib import Path

import pytest
from datasets import Dataset

from align.data.formats import inspect_file
from align.data.splits import load_split
from align.data.user_rows import read_rows
from align.errors import DataError
from tests.align.data.recipes import recipe
from tests.align.data.written import refusal


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"question": "a", "completion": "b"}] * 9, "needs the columns prompt . completion"),
        ([{"prompt": "a", "completion": "b"}, {"prompt": "", "completion": "b"}], "row 2: column"),
        ([{"prompt": f"{i}", "completion": "b"} for i in range(5)], "5 rows .* are too few"),
        ([], r"no rows; test 2 \+ validation 2 \+ train 4 = 8 are needed"),
        ([{"prompt": "a", "completion": "b"}], "1 row is too few .* = 8 .* at least 3 prompts"),
        (
            [{"messages": [{"role": "user", "content": "x"}] * 2}] * 9,
            "rows 1, 2, 3 and 6 more: column 'messages' must end",
        ),
    ],
    ids=["columns", "empty", "few", "none", "one", "turns"],
)
def test_rows_that_cannot_be_used_are_named(tmp_path, rows, words):
    with pytest.raises(DataError, match=words):
        load_split(recipe(tmp_path, rows), "one", "train")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.txt", b"x", "allowed: .jsonl, .json, .csv, .parquet"),
        ("data.jsonl", b"\xff\xfe\x00", "not utf-16"),
        ("data.parquet", b"nonsense", "not Parquet"),
        ("data.csv", b"prompt,completion\na,b,c\n", "row 1: not as many fields"),
        ("data.json", b"[{]", "line 1: not JSON"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        inspect_file(tmp_path / name)


def test_a_folder_is_refused_with_the_way_to_a_file(tmp_path: Path) -> None:
    saved, parts, empty = tmp_path / "saved", tmp_path / "parts", tmp_path / "empty"
    for folder in (saved, parts, empty):
        folder.mkdir()
    Dataset.from_list([{"prompt": "a"}]).save_to_disk(saved)
    (parts / "rows-0.jsonl.gz").touch()
    assert "datasets.load_from_disk(" in refusal(saved)
    assert refusal(parts).endswith("name a file in it, such as rows-0.jsonl.gz")
    assert refusal(empty) == "a folder, but a file of rows is needed"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        inspect_file(tmp_path / "none.jsonl")


def test_every_row_has_all_columns_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(
        '{"prompt": "a", "completion": "b"}\n\n'
        '{"completion": "d", "system": "s", "prompt": "c"}\n'
        '{"prompt": "e", "completions": "f", "system": null}\n',
        encoding="utf-8",
    )
    rows = read_rows(path)
    assert list(rows) == [1, 3, 4]
    assert all(
        list(row) == ["prompt", "completion", "system", "completions"] for row in rows.values()
    )
    assert rows[1]["system"] is None and rows[3]["system"] == "s"
    assert rows[4]["completion"] is None and rows[4]["completions"] == "f"


def test_an_optional_column_is_no_error(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}", "completion": "b"} for i in range(12)]
    rows[7]["source"] = "mail"
    mine = recipe(tmp_path, rows)
    assert len(load_split(mine, "one", "train")) == 4
