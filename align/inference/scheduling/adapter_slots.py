"""Assigns bank slots to adapters and decides which adapters are evicted."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from heapq import heappop, heappush


class Residency:
    """Assigns bank slots to adapters, which are named by key. The base (key 0) needs no slot.

    A slot is reassigned only when its adapter has no live sequence. If all adapters in the bank
    have live sequences while another adapter waits, an adapter is *drained*: none of its sequences
    is admitted until its live ones end. An adapter gets at least `share` admissions before it may
    be drained, to amortise its loading. `waiting` returns the number of sequences that wait for an
    adapter; adapters for which `kept` is true are evicted last.
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
        """The adapter's bank slot, or None."""
        return self._places.get(adapter)

    def live(self, adapter: int) -> int:
        """Live sequences of this adapter."""
        return self._live[adapter]

    def is_forgotten(self, adapter: int) -> bool:
        """Whether the adapter was unloaded and only completes its remaining sequences."""
        return adapter in self._forgotten

    def admits(self, adapter: int) -> bool:
        """Whether a sequence of this adapter could start now."""
        return adapter == 0 or (adapter in self._places and adapter not in self._draining)

    def can_seat(self, adapter: int) -> bool:
        """Whether the adapter has a bank slot, or a slot can be assigned to it now."""
        return adapter in self._places or bool(self._free) or self._idle() is not None

    def seat(self, adapter: int) -> None:
        """Assign a bank slot to the adapter, which no longer drains. Requires `can_seat`."""
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
        """Record that a sequence of this adapter is live."""
        self._live[adapter] += 1
        if adapter in self._places:
            self._admitted[adapter] += 1

    def ended(self, adapter: int) -> None:
        """Record that a live sequence of this adapter has ended."""
        self._live[adapter] -= 1
        if not self._live[adapter]:
            del self._live[adapter]
        if adapter in self._places:
            self._places.move_to_end(adapter)

    def forget(self, adapter: int) -> None:
        """Mark an adapter as unloaded; see `leave_if_over`."""
        self._forgotten.add(adapter)

    def leave_if_over(self, adapter: int) -> None:
        """Free the bank slot of a forgotten adapter if it has no live or waiting sequences."""
        if adapter in self._forgotten and not self._live[adapter] and not self._waiting(adapter):
            self._forgotten.discard(adapter)
            if adapter in self._places:
                self._evict(adapter)

    def settle(self, line: int) -> None:
        """Choose the adapters that drain; `line` is the number of adapters that wait for a slot.

        An adapter drains for each waiting adapter: first those with the fewest live sequences, then
        the fewest waiting. At most half of the slots drain, so that the others keep the batch full.
        """
        count = min(line, self._most_draining)
        while len(self._draining) > count:
            self._draining.popitem()
        victims = sorted(filter(self._drainable, self._places), key=self._load)
        self._draining.update(dict.fromkeys(victims[: count - len(self._draining)]))

    def take_changes(self) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
        """Evictions and (adapter, bank slot) assignments since the last call."""
        changes = tuple(self._evictions), tuple(self._seated)
        self._evictions, self._seated = [], []
        return changes

    def _drainable(self, adapter: int) -> bool:
        had_its_share = self._admitted[adapter] >= self._share or not self._waiting(adapter)
        return bool(self._live[adapter]) and adapter not in self._draining and had_its_share

    def _load(self, adapter: int) -> tuple[bool, int, int]:
        return self._kept(adapter), self._live[adapter], self._waiting(adapter)

    def _idle(self) -> int | None:
        """The adapter without live sequences that is evicted next; None if there is none.

        Adapters without waiting sequences come first, then adapters that are not kept, then the
        least recently used.
        """
        idle = (adapter for adapter in self._places if not self._live[adapter])
        return min(idle, key=lambda key: (self._waiting(key) > 0, self._kept(key)), default=None)

    def _evict(self, adapter: int) -> None:
        heappush(self._free, self._places.pop(adapter))
        self._draining.pop(adapter, None)
        del self._admitted[adapter]
        self._evictions.append(adapter)
