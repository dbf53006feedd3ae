"""A least-recently-used cache of computed values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Holds the `most` values used last. A key must contain everything its value depends on."""

    def __init__(self, most: int):
        self._most = most
        self._found: OrderedDict[Hashable, T] = OrderedDict()

    def of(self, key: Hashable, make: Callable[[], T]) -> T:
        """The cached value of `key`, else the result of `make`, which is then cached."""
        value = self._found[key] if key in self._found else make()
        self._found[key] = value
        self._found.move_to_end(key)
        while len(self._found) > self._most:
            self._found.popitem(last=False)
        return value

    def clear(self) -> None:
        """Remove all values."""
        self._found.clear()
