"""A data file as a stream of bytes or of text: unpacked and decoded."""

from __future__ import annotations

import codecs
import gzip
import io
import re
from pathlib import Path
from typing import BinaryIO, Literal, TextIO, cast

_HEAD = 4096
_CHUNK = 2**20
_MARKS = (  # that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WITHOUT_MARK = (
    (re.compile(rb"([^\0]\0){2}"), "utf-16-le"),
    (re.compile(rb"(\0[^\0]){2}"), "utf-16-be"),
)


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, unpacked if they are compressed by gzip or Zstandard."""
    match _compression(path):
        case "gzip":
            return cast(BinaryIO, gzip.open(path, "rb"))
        case "zstd":
            import pyarrow as pa

            return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
        case None:
            return path.open("rb")


def check_unpacking(path: Path) -> None:
    """EOFError, OSError or zlib.error if the file is compressed, and cut or damaged."""
    if _compression(path) is not None:
        with open_bytes(path) as stream:
            while stream.read(_CHUNK):
                pass


def _compression(path: Path) -> Literal["gzip", "zstd"] | None:
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic.startswith(b"\x1f\x8b"):
        return "gzip"
    return "zstd" if magic == b"\x28\xb5\x2f\xfd" else None


def read_head(path: Path) -> bytes:
    """The first 4096 unpacked bytes."""
    with open_bytes(path) as stream:
        return stream.read(_HEAD)


def encoding_of(head: bytes) -> str:
    """The encoding that a byte order mark or, for UTF-16, ASCII characters show; else UTF-8."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    return next((name for pattern, name in _WITHOUT_MARK if pattern.match(head)), "utf-8")


def open_text(path: Path, newline: str | None = None) -> TextIO:
    """The file's text, decoded strictly; `newline` is that of `open`."""
    encoding = encoding_of(read_head(path))
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline=newline)
