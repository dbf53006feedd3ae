"""Which kind of data file bytes are: decided by their beginning first, by the name second."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from align.data.row_numbers import shortened
from align.errors import DataError

FileKind = Literal["json", "csv", "parquet", "arrow"]

#: Suffixes of data files and the kind that each announces.
SUFFIXES: dict[str, FileKind] = {
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".ndjson": "json",
    ".tsv": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
}
#: Suffixes of compression, which follow those of data files.
COMPRESSED = (".gz", ".zst")
_BINARY: tuple[tuple[bytes, FileKind], ...] = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xff\xff\xff\xff", "arrow"),  # a stream begins with a continuation marker
)
#: First bytes of files that hold no rows, or hold them in a form that is not read; what the file
#: is, and what makes a data file of it.
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or save it as 'CSV UTF-8'"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save it as 'CSV UTF-8'"),
    *(
        (b"BZh%d1AY&SY" % level, "compressed by bzip2", "unpack it by bunzip2")
        for level in range(1, 10)
    ),
    (b"\xfd7zXZ\x00", "compressed by xz", "unpack it by unxz"),
    (b"\x04\x22\x4d\x18", "compressed by lz4", "unpack it by unlz4"),
    (b"\x1f\x8b", "compressed twice", "unpack it by gunzip"),
    (b"SQLite format 3\x00", "an SQLite database", "export the table as CSV"),
    (b"FEA1", "Feather of version 1", "write it again by pyarrow.feather.write_feather"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"\x89HDF", "an HDF5 file", "write it as Parquet"),
    (b"%PDF", "a PDF document", "name a file of rows"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer instead of the file itself",
        "fetch the file by git lfs pull",
    ),
)
#: How JSON begins, but no header of CSV.
_JSON = re.compile(r'\{\s*"|\[\s*\{')
_MARKUP = ("<!doctype", "<html", "<?xml", "<head", "<body")


def data_suffix(path: Path) -> str:
    """The suffix that announces the kind of file, in lower case, before that of compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def check_name(path: Path) -> None:
    """DataError if the name does not announce a data file."""
    if data_suffix(path) not in SUFFIXES:
        raise DataError(
            f"{path}: unknown kind of file; allowed: {', '.join(SUFFIXES)}, "
            f"each also compressed ({', '.join(COMPRESSED)})"
        )


def check_content(path: Path, head: bytes) -> None:
    """DataError if the file's first bytes are those of a file without readable rows."""
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            raise DataError(f"{path}: {what}; {remedy}")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:16].lower()
    if text.startswith(tuple(mark.encode() for mark in _MARKUP)):
        raise DataError(
            f"{path}: a web page or XML instead of rows ({_beginning(head)}); download the file "
            "itself (on the hub the 'download' link, whose address contains /resolve/)"
        )


def kind_of(path: Path, head: bytes, beginning: str) -> FileKind:
    """The kind of a file with the first bytes `head`, whose decoded form is `beginning`.

    DataError if a file that should be Parquet or Arrow is neither that nor JSON.
    """
    for magic, kind in _BINARY:
        if head.startswith(magic):
            return kind
    announced = SUFFIXES[data_suffix(path)]
    text = beginning.lstrip()
    if announced == "csv":
        return "json" if _JSON.match(text) else "csv"
    if announced in ("parquet", "arrow") and head and not text.startswith(("{", "[")):
        name = "Parquet" if announced == "parquet" else "Arrow"
        raise DataError(f"{path}: not {name}: it begins with {_beginning(head)}")
    return "json" if text else announced


def _beginning(head: bytes) -> str:
    return shortened(head[:40].decode("utf-8", "backslashreplace"))
