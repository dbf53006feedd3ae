"""Rows by their numbers, as error messages name them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]


def numbers(rows: Iterable[int]) -> str:
    """`row 3`, or `rows 3, 8, 9 and 4 more`."""
    listed = list(rows)
    shown = ", ".join(str(number) for number in listed[:3])
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"row{'s' if len(listed) > 1 else ''} {shown}{more}"


def shortened(value: Any, length: int = 60) -> str:
    """A value's `repr`, cut to `length` characters, for messages."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"
