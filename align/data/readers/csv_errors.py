"""Where a record of CSV breaks the rules of quotes."""

from __future__ import annotations

from align.data.readers.csv_dialects import CsvDialect
from align.data.row_numbers import shortened


def misplaced_quote(lines: list[str], first: int, dialect: CsvDialect) -> str:
    """Why a record cannot be read: where its last quote opens, and where it closes, if it does.

    `lines` are those of the record and all after it that were read, `first` is the first's number.
    """
    opening, closing = _last_quote("".join(lines), dialect)
    text = "".join(lines)
    opened = f"the quote that opens in line {_line(text, opening, first)}"
    near = shortened(text[opening : opening + 40])
    if closing is None:
        return f"{opened} is never closed ({near}); close it, or double quotes within a text"
    if text[closing - 1] == "\\":
        remedy = "a backslash does not escape quotes in CSV: double quotes within a text"
    else:
        remedy = "close each quote before the delimiter, and double quotes within a text"
    found = shortened(text[closing + 1 : closing + 21])
    place = _line(text, closing, first)
    return f"{opened} ({near}) is closed in line {place} before {found}; {remedy}"


def _line(text: str, index: int, first: int) -> str:
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    column = len(before) - (before.rfind("\n") + 1) + 1
    return f"{first + before.count(chr(10))}, column {column},"


def _last_quote(text: str, dialect: CsvDialect) -> tuple[int, int | None]:
    """The index at which the last quoted field opens, and at which it closes too early."""
    quote, ends = dialect.quote, (dialect.delimiter, "\n", "\r", "")
    index, opening = 0, 0
    while index < len(text):
        if dialect.skips_blanks and text[index] == " ":
            index += 1
            continue
        if text[index] == quote:
            opening = index
            closing = _closing(text, index + 1, quote)
            if closing is None or text[closing + 1 : closing + 2] not in ends:
                return opening, closing
            index = closing + 1
        index = _after_field(text, index, dialect.delimiter)
    return opening, None


def _closing(text: str, index: int, quote: str) -> int | None:
    while (index := text.find(quote, index)) >= 0:
        if text[index + 1 : index + 2] != quote:
            return index
        index += 2
    return None


def _after_field(text: str, index: int, delimiter: str) -> int:
    """Where the next field begins."""
    while index < len(text) and text[index] not in (delimiter, "\n", "\r"):
        index += 1
    return index + 1
