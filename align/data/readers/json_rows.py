"""Rows of JSON: lines, a list, columns, or objects that follow one another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from align.data.readers.json_documents import unwrapped
from align.data.readers.json_errors import explained
from align.data.readers.json_values import JsonDecoder, ValueProblem
from align.data.readers.streams import open_text
from align.data.row_numbers import Row, numbers, shortened
from align.errors import DataError

_Problems = dict[str, dict[int, str]]
_WHITESPACE = " \t\n\r"


def json_rows(path: Path) -> dict[int, Row]:
    """The rows of JSON lines by their lines; those of another document counted from 1.

    A document is a list of objects, an object with such a list or with lists as columns, or
    objects that follow one another over several lines each.
    """
    with open_text(path) as lines:
        numbered = enumerate(lines, start=1)
        first = next(((number, line) for number, line in numbered if line.strip()), None)
        if first is None:
            return {}
        second = next(((number, line) for number, line in numbered if line.strip()), None)
        if second is not None and _is_line(first[1], second[1]):
            rows = _lines(path, chain([first, second], numbered))
        else:
            begun = "\n" * (first[0] - 1) + first[1]
            if second is not None:
                begun += "\n" * (second[0] - first[0] - 1) + second[1]
            rows = _document(path, begun + lines.read())
    return _objects(path, rows)


def _is_line(first: str, second: str) -> bool:
    """Whether the first of several lines is a row by itself, if possibly a malformed row."""
    text = first.strip()
    try:
        json.loads(text)
        return True
    except json.JSONDecodeError as error:
        # A list or an object over several lines fails at its first line's end.
        cut = error.pos >= len(text) and not _is_object(second)
        return not (cut or text.startswith("["))
    except (ValueError, RecursionError):
        return True


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lines(path: Path, lines: Iterable[tuple[int, str]]) -> dict[int, Any]:
    decoder, rows = JsonDecoder(), {}
    problems: _Problems = {}
    for number, line in lines:
        text = line.strip(_WHITESPACE)
        if not text:
            continue
        try:
            rows[number] = decoder.decode(text)
        except ValueProblem as problem:
            problems.setdefault(problem.kind, {})[number] = str(problem)
        except (ValueError, RecursionError) as error:
            # Only the first is told, and to explain every line of another kind of file takes long.
            texts = problems.setdefault("", {})
            texts[number] = "" if texts else explained(error, text)
    _refuse(path, problems)
    return rows


def _document(path: Path, text: str) -> dict[int, Any]:
    decoder = JsonDecoder()
    values = list(_decoded(path, decoder, text))
    rows = values if len(values) > 1 else values[0]
    listed = rows if isinstance(rows, list) else [rows]
    numbered = dict(enumerate(listed, start=1))
    if check := decoder.needed_check(text):
        problems: _Problems = {}
        for number, row in numbered.items():
            try:
                check(row)
            except ValueProblem as problem:
                problems.setdefault(problem.kind, {})[number] = str(problem)
        _refuse(path, problems)
    return unwrapped(numbered) if not isinstance(rows, list) else numbered


def _decoded(path: Path, decoder: JsonDecoder, text: str) -> Iterator[Any]:
    """The values that follow one another in `text`."""
    position = _skipped(text, 0)
    while position < len(text):
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: {_place(error)}{explained(error, text)}") from None
        yield value
        position = _skipped(text, end)


def _place(error: Exception) -> str:
    return f"line {error.lineno}: " if isinstance(error, json.JSONDecodeError) else ""


def _skipped(text: str, position: int) -> int:
    while position < len(text) and text[position] in _WHITESPACE:
        position += 1
    return position


def _refuse(path: Path, problems: _Problems) -> None:
    """DataError for the first kind of problems, which explains the first row of that kind."""
    for texts in problems.values():
        raise DataError(f"{path}: {numbers(texts)}: {next(iter(texts.values()))}")


def _objects(path: Path, rows: dict[int, Any]) -> dict[int, Row]:
    malformed = [number for number, row in rows.items() if not isinstance(row, dict)]
    if malformed:
        raise DataError(
            f'{path}: {numbers(malformed)}: not an object such as {{"prompt": "…"}}; '
            f"got {shortened(rows[malformed[0]])}"
        )
    return rows
