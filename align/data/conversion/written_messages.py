"""Messages in the columns of plain text, written as JSON or as Python prints them."""

from __future__ import annotations

import re
from typing import Any

from align.data.conversion.form import Rows
from align.data.conversion.values import UnreadableValue, is_empty, parsed

#: A list of objects, of which the first has a role.
_WRITTEN = re.compile(
    r"""\s*\[\s*\{[^{}]*?(["'])(?:role|from)\1\s*:\s*\1(?:system|user|human|assistant|gpt)\1""",
)


def are_written_messages(rows: Rows, column: str) -> bool:
    """Whether all values of a column, of which one at least is not empty, are such text."""
    values = (row[column] for row in rows.values() if not is_empty(row.get(column)))
    first = next(values, None)
    return _is_written(first) and all(map(_is_written, values))


def unwritten(column: str, text: Any) -> Any:
    """The messages of JSON text. UnreadableValue if the text is none, such as Python's."""
    value = parsed(text)
    if isinstance(value, str):
        raise UnreadableValue(
            f"column '{column}' holds the text of messages that is no JSON; write it with "
            "json.dumps, or the file as JSON lines",
            text,
        )
    return value


def _is_written(value: Any) -> bool:
    return isinstance(value, str) and _WRITTEN.match(value) is not None
