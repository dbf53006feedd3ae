"""Which adapters have a place in the bank, and which give theirs up."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from heapq import heappop, heappush


class Residency:
    """Bank slots, given to adapters by key. The base (key 0) needs none.

    A place changes hands only when no sequence of its adapter lives. Where all adapters in the bank
    have live ones and another waits, one *drains*: nothing of it is admitted until they end.
    `share` admissions are granted to an adapter before it may be drained, so that a visit is worth
    the loading; `waiting` tells how many sequences wait for an adapter, and `kept` which adapters
    give way last.
    """

    def __init__(
        self,
        places: int,
        share: int,
        waiting: Callable[[int], int],
        kept: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._free = list(range(places))
        self._most_draining = max(1, places // 2)
        self._share = share
        self._waiting = waiting
        self._kept = kept
        self._places: OrderedDict[int, int] = OrderedDict()  # least recently used first
        self._draining: dict[int, None] = {}
        self._live: Counter[int] = Counter()
        self._admitted: Counter[int] = Counter()
        self._forgotten: set[int] = set()
        self._evictions: list[int] = []
        self._seated: list[tuple[int, int]] = []

    def place(self, adapter: int) -> int | None:
        """The adapter's bank slot, if it has one."""
        return self._places.get(adapter)

    def live(self, adapter: int) -> int:
        """Live sequences of this adapter."""
        return self._live[adapter]

    def is_forgotten(self, adapter: int) -> bool:
        """Whether the adapter was unloaded and only finishes what it had."""
        return adapter in self._forgotten

    def admits(self, adapter: int) -> bool:
        """Whether a sequence of this adapter could start now."""
        return adapter == 0 or (adapter in self._places and adapter not in self._draining)

    def can_seat(self, adapter: int) -> bool:
        """Whether the adapter has a place, or one could be given to it now."""
        return adapter in self._places or bool(self._free) or self._idle() is not None

    def seat(self, adapter: int) -> None:
        """Give the adapter a place, for which `can_seat` was true; it no longer drains."""
        self._draining.pop(adapter, None)
        self._admitted[adapter] = 0
        if adapter in self._places:
            return
        if not self._free:
            idle = self._idle()
            assert idle is not None, "seat() without can_seat()"
            self._evict(idle)
        self._places[adapter] = heappop(self._free)
        self._seated.append((adapter, self._places[adapter]))

    def started(self, adapter: int) -> None:
        """A sequence of this adapter is live."""
        self._live[adapter] += 1
        if adapter in self._places:
            self._admitted[adapter] += 1

    def ended(self, adapter: int) -> None:
        """A live sequence of this adapter is over."""
        self._live[adapter] -= 1
        if not self._live[adapter]:
            del self._live[adapter]
        if adapter in self._places:
            self._places.move_to_end(adapter)

    def forget(self, adapter: int) -> None:
        """Mark an adapter as unloaded; see `leave_if_over`."""
        self._forgotten.add(adapter)

    def leave_if_over(self, adapter: int) -> None:
        """Free the place of a forgotten adapter for which nothing lives or waits any more."""
        if adapter in self._forgotten and not self._live[adapter] and not self._waiting(adapter):
            self._forgotten.discard(adapter)
            if adapter in self._places:
                self._evict(adapter)

    def settle(self, line: int) -> None:
        """Choose who drains, and who no longer does; `line` adapters wait in vain for a place.

        One drains for each adapter in the line, fewest live sequences first, then fewest waiting,
        but never more than half of the places, so that the others keep the batch full.
        """
        wanted = min(line, self._most_draining)
        while len(self._draining) > wanted:
            self._draining.popitem()
        victims = sorted(filter(self._drainable, self._places), key=self._load)
        self._draining.update(dict.fromkeys(victims[: wanted - len(self._draining)]))

    def take_changes(self) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
        """Evictions and seatings since the last call."""
        changes = tuple(self._evictions), tuple(self._seated)
        self._evictions, self._seated = [], []
        return changes

    def _drainable(self, adapter: int) -> bool:
        had_its_share = self._admitted[adapter] >= self._share or not self._waiting(adapter)
        return bool(self._live[adapter]) and adapter not in self._draining and had_its_share

    def _load(self, adapter: int) -> tuple[bool, int, int]:
        return self._kept(adapter), self._live[adapter], self._waiting(adapter)

    def _idle(self) -> int | None:
        """The least recently used adapter without live sequences.

        One nobody waits for, if any; among these one that is not kept, if any.
        """
        idle = (adapter for adapter in self._places if not self._live[adapter])
        return min(idle, key=lambda one: (self._waiting(one) > 0, self._kept(one)), default=None)

    def _evict(self, adapter: int) -> None:
        heappush(self._free, self._places.pop(adapter))
        self._draining.pop(adapter, None)
        del self._admitted[adapter]
        self._evictions.append(adapter)
