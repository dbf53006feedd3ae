"""Files that hold no rows are named for what they are."""

import json
from pathlib import Path

import pytest

from align.data.user_rows import read_rows
from tests.align.data.written import refusal, rows_of, written

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "x", ["unknown kind of file", ".jsonl, .json", ".tsv", ".gz"]),
        ("a.gz", "x", ["unknown kind of file"]),
        ("a", "{}", ["unknown kind of file"]),
        ("a.xlsx", b"PK\x03\x04rest", ["Excel workbook", "CSV UTF-8"]),
        ("a.csv", b"PK\x03\x04rest", ["Excel workbook", "CSV UTF-8"]),
        ("a.csv", b"\xd0\xcf\x11\xe0rest", ["old Excel workbook"]),
        ("a.parquet", LFS, ["Git LFS pointer", "git lfs pull"]),
        ("a.jsonl", LFS, ["Git LFS pointer"]),
        ("a.jsonl", "\n<!DOCTYPE html><html>…", ["web page", "/resolve/"]),
        ("a.parquet", "<?xml version='1.0'?>", ["web page or XML"]),
        ("a.jsonl.bz2", b"BZh91AY&SY", ["bzip2", "bunzip2"]),
        ("a.jsonl", b"\xfd7zXZ\x00", ["unxz"]),
        ("a.csv", b"SQLite format 3\x00", ["SQLite"]),
        ("a.parquet", "prompt,completion\n", ["not Parquet", "'prompt,completion"]),
        ("a.arrow", "prompt,completion\n", ["not Arrow"]),
    ],
)
def test_a_file_without_rows_is_refused_by_what_it_is(tmp_path, name, content, words) -> None:
    message = refusal(written(tmp_path, name, content))
    assert all(word in message for word in words), message


def test_json_is_read_under_the_name_of_another_kind(tmp_path: Path) -> None:
    rows = [{"prompt": "a"}, {"prompt": "b"}]
    assert rows_of(tmp_path, "a.parquet", json.dumps(rows)) == rows
    assert rows_of(tmp_path, "a.csv", '{"prompt": "a"}\n{"prompt": "b"}\n') == rows


@pytest.mark.parametrize("name", ["ORCID", "BZh", "version", "PK"])
def test_a_header_may_begin_as_other_files_do(tmp_path: Path, name: str) -> None:
    assert rows_of(tmp_path, "a.csv", f"{name},prompt\n1,a\n") == [{name: "1", "prompt": "a"}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.arrow", "a.csv.gz"])
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str, content: bytes) -> None:
    if content and name in ("a.parquet", "a.arrow"):
        assert refusal(written(tmp_path, name, content)).startswith("not ")
    else:
        assert read_rows(written(tmp_path, name, content)) == {}
