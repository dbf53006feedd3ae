"""Replacement of a library's attribute for the duration of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: object, name: str, value: Any) -> Iterator[None]:
    """Set the attribute `name` of a module or class to `value` within the block.

    AttributeError if `owner` has no such attribute, so that an update of the library that removes
    it is noticed.
    """
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
