"""Compressed files, and text in every encoding that Unicode has."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from tests.align.data.written import refusal, rows_of, written

LINES = "".join(f'{{"prompt": "p{n} é 😀", "completion": "c{n}"}}\n' for n in range(2000))
TABLE = "prompt,completion\n" + "".join(f"p{n} é,c{n}\n" for n in range(2000))


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return packed


@pytest.mark.parametrize("packed", [gzip.compress, zstd, bytes], ids=["gzip", "zstd", "plain"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_compressed_file_is_read_by_its_content(tmp_path: Path, packed, suffix: str) -> None:
    lines = rows_of(tmp_path, f"rows.jsonl{suffix}", packed(LINES.encode()))
    assert len(lines) == 2000 and lines[1999] == {"prompt": "p1999 é 😀", "completion": "c1999"}
    table = rows_of(tmp_path, f"rows.csv{suffix}", packed(TABLE.encode()))
    assert len(table) == 2000 and table[7] == {"prompt": "p7 é", "completion": "c7"}


def test_several_compressed_parts_follow_one_another(tmp_path: Path) -> None:
    for number, packed in enumerate((gzip.compress, zstd)):
        twice = packed(LINES.encode()) + packed(LINES.encode())
        assert len(rows_of(tmp_path, f"{number}.jsonl", twice)) == 4000


@pytest.mark.parametrize("packed", [gzip.compress, zstd], ids=["gzip", "zstd"])
@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.csv"])
def test_a_cut_file_is_named(tmp_path: Path, packed, name: str) -> None:
    whole = packed(LINES.encode())
    message = refusal(written(tmp_path, name, whole[: len(whole) // 2]))
    assert "cannot be unpacked" in message and "copy it again" in message


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.csv"])
def test_a_damaged_file_is_named_rather_than_rows_that_the_damage_gives(tmp_path, name) -> None:
    whole = bytearray(gzip.compress(LINES.encode()))
    for index in range(len(whole) // 2, len(whole) // 2 + 64):
        whole[index] ^= 0x55
    assert "cannot be unpacked" in refusal(written(tmp_path, name, bytes(whole)))


def test_a_file_compressed_twice(tmp_path: Path) -> None:
    twice = gzip.compress(gzip.compress(LINES.encode()))
    assert "compressed twice" in refusal(written(tmp_path, "rows.jsonl.gz", twice))


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"],
)
def test_text_is_read_in_the_encoding_that_its_first_bytes_show(tmp_path, encoding) -> None:
    content = "\ufeff" + LINES if encoding == "utf-32-be" else LINES
    assert rows_of(tmp_path, "rows.jsonl", content.encode(encoding))[0]["prompt"] == "p0 é 😀"


def test_half_a_character_of_utf16(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "rows.jsonl", LINES.encode("utf-16")[:-1]))
    assert message.startswith("not utf-16") and "save the file as UTF-8" in message
