"""KV slots: their owners, the content retained in unowned slots, and shared prefixes."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from align.inference.scheduling.sequence import Sequence

#: A shared prefix is copied if it has at least this many tokens, or half of the prompt.
WORTHWHILE = 16


@dataclass(frozen=True)
class Prefix:
    """The first `count` tokens in `slot` are also those of a sequence."""

    slot: int
    count: int


@dataclass(frozen=True)
class Retained:
    """The content that an ended sequence left in its slot."""

    adapter: int
    content: array[int]


def shared_prefix(a: array[int], b: array[int], beyond: int, limit: int) -> int:
    """Length of the common prefix, at most `limit`, or 0 if it is not longer than `beyond`."""
    if limit <= beyond or a[beyond] != b[beyond] or a[:beyond] != b[:beyond]:
        return 0
    known, limit = beyond + 1, min(limit, len(a), len(b))
    while known < limit:
        middle = (known + limit + 1) // 2
        if a[known:middle] == b[known:middle]:
            known = middle
        else:
            limit = middle - 1
    return known


class KvSlots:
    """A fixed number of slots: free, live (owned by a sequence), or retained for their prefix."""

    def __init__(self, count: int, reuse: bool) -> None:
        self._reuse = reuse
        self._free = list(range(count))
        self._live: dict[int, Sequence] = {}
        self._retained: OrderedDict[int, Retained] = OrderedDict()  # least recently used first

    @property
    def available(self) -> int:
        """Number of slots that can be assigned now."""
        return len(self._free) + len(self._retained)

    def find(self, sequence: Sequence) -> Prefix | None:
        """The longest prefix that can be copied, if it is long enough."""
        best = Prefix(-1, 0)
        for slot, adapter, content, computed in self._contents() if self._reuse else ():
            if adapter == sequence.adapter:
                limit = min(computed, sequence.reusable)
                count = shared_prefix(content, sequence.content, best.count, limit)
                best = Prefix(slot, count) if count else best
        worth = best.count >= min(WORTHWHILE, (len(sequence.prompt) + 1) // 2)
        return best if worth else None

    def take(self, sequence: Sequence, prefix: Prefix | None) -> None:
        """Assign a slot to the sequence: the slot of its prefix if that holds nothing else.

        Otherwise the lowest free slot, or else the least recently used retained slot.
        """
        slot = self._choose(prefix)
        self._retained.pop(slot, None)
        self._live[slot] = sequence
        sequence.slot = slot

    def touch(self, slot: int) -> None:
        """Mark the content of a slot as recently used."""
        if slot in self._retained:
            self._retained.move_to_end(slot)

    def release(self, sequence: Sequence, retain: bool) -> None:
        """Release a sequence's slot; with `retain`, keep any content for other sequences."""
        assert sequence.slot is not None, "release() of a sequence that is not live"
        slot, sequence.slot = sequence.slot, None
        del self._live[slot]
        if retain and self._reuse and sequence.computed:
            content = sequence.content[: sequence.computed]
            self._retained[slot] = Retained(sequence.adapter, content)
        else:
            heappush(self._free, slot)

    def forget(self, adapter: int) -> None:
        """Free the slots that are retained for this adapter."""
        stale = [slot for slot, entry in self._retained.items() if entry.adapter == adapter]
        for slot in stale:
            del self._retained[slot]
            heappush(self._free, slot)

    def _contents(self) -> Iterator[tuple[int, int, array[int], int]]:
        """(slot, adapter, content, number of computed tokens) of every live or retained slot."""
        for slot, entry in self._retained.items():
            yield slot, entry.adapter, entry.content, len(entry.content)
        for slot, sequence in self._live.items():
            yield slot, sequence.adapter, sequence.content, sequence.computed

    def _choose(self, prefix: Prefix | None) -> int:
        entry = self._retained.get(prefix.slot) if prefix else None
        if prefix and entry and prefix.count == len(entry.content):
            return prefix.slot
        return heappop(self._free) if self._free else next(iter(self._retained))
