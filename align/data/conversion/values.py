"""What conversions share: the error about a value, its text, and a test of emptiness."""

from __future__ import annotations

import json
from typing import Any


class UnreadableValue(Exception):
    """A value of a row that cannot be read: what is wrong with it, and the value itself."""

    def __init__(self, text: str, value: Any):
        super().__init__(text)
        self.text, self.value = text, value


def is_empty(value: Any) -> bool:
    """Whether a value is absent: None, an empty list or object, or text of white space."""
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def parsed(value: Any) -> Any:
    """The value of JSON text of a list or an object; any other value as it is."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):  # no JSON, long numbers, or deep lists
            return value
    return value


def text_of(column: str, value: Any) -> str:
    """The text of a plain column. UnreadableValue if it is missing or no text."""
    if is_empty(value):
        raise UnreadableValue(f"column '{column}' is empty", value)
    if not isinstance(value, str):
        raise UnreadableValue(f"column '{column}' must be text", value)
    return value


def optional_text(column: str, value: Any) -> str:
    """The text of a plain column that may be absent. UnreadableValue if it is something else."""
    return "" if is_empty(value) else text_of(column, value)
