"""What was made last, by what it was made from: a bound on what a process keeps warm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """The last `most` results. Whatever a result depends on has to be in its key."""

    def __init__(self, most: int):
        self._most = most
        self._found: OrderedDict[Hashable, T] = OrderedDict()

    def of(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave for this key, or gives now."""
        found = self._found[key] if key in self._found else make()
        self._found[key] = found
        self._found.move_to_end(key)
        while len(self._found) > self._most:
            self._found.popitem(last=False)
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()
