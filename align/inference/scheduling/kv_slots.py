"""KV slots: who has one, what lies in those that nobody has, and whose content starts alike."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from align.inference.scheduling.sequence import Sequence

#: A shared prefix is worth a copy from this many tokens on, or if it is half of the prompt.
WORTHWHILE = 16


@dataclass(frozen=True)
class Prefix:
    """The first `count` tokens in `slot` are also those of a sequence."""

    slot: int
    count: int


@dataclass(frozen=True)
class Retained:
    """What a sequence that is over left in its slot."""

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
    """A fixed number of slots: free, live (one sequence's own), or retained for their prefix."""

    def __init__(self, count: int, reuse: bool) -> None:
        self._reuse = reuse
        self._free = list(range(count))
        self._live: dict[int, Sequence] = {}
        self._retained: OrderedDict[int, Retained] = OrderedDict()  # least recently used first

    @property
    def available(self) -> int:
        """Slots that a sequence could get now."""
        return len(self._free) + len(self._retained)

    def find(self, sequence: Sequence) -> Prefix | None:
        """The longest prefix that can be copied, if it is worth it."""
        best = Prefix(-1, 0)
        for slot, adapter, content, computed in self._contents() if self._reuse else ():
            if adapter == sequence.adapter:
                limit = min(computed, sequence.reusable)
                count = shared_prefix(content, sequence.content, best.count, limit)
                best = Prefix(slot, count) if count else best
        worth = best.count >= min(WORTHWHILE, (len(sequence.prompt) + 1) // 2)
        return best if worth else None

    def take(self, sequence: Sequence, prefix: Prefix | None) -> None:
        """Give the sequence a slot: that of its prefix itself if nothing is lost by it.

        Otherwise the lowest free one, else the retained one that was used least recently.
        """
        slot = self._choose(prefix)
        self._retained.pop(slot, None)
        self._live[slot] = sequence
        sequence.slot = slot

    def touch(self, slot: int) -> None:
        """Note that a slot's content was of use."""
        if slot in self._retained:
            self._retained.move_to_end(slot)

    def release(self, sequence: Sequence, retain: bool) -> None:
        """Take a sequence's slot back; `retain` its content for others, if there is any."""
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
        stale = [slot for slot, kept in self._retained.items() if kept.adapter == adapter]
        for slot in stale:
            del self._retained[slot]
            heappush(self._free, slot)

    def _contents(self) -> Iterator[tuple[int, int, array[int], int]]:
        """(slot, adapter, content, how much of it is computed) of every slot in use."""
        for slot, kept in self._retained.items():
            yield slot, kept.adapter, kept.content, len(kept.content)
        for slot, sequence in self._live.items():
            yield slot, sequence.adapter, sequence.content, sequence.computed

    def _choose(self, prefix: Prefix | None) -> int:
        kept = self._retained.get(prefix.slot) if prefix else None
        if prefix and kept and prefix.count == len(kept.content):
            return prefix.slot
        return heappop(self._free) if self._free else next(iter(self._retained))
