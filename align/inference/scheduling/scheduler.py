"""Plans the engine's steps. Pure decisions: no tensors, no clock, no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from align.inference.scheduling.adapter_slots import Residency
from align.inference.scheduling.admission import FairQueues
from align.inference.scheduling.chunks import share_out
from align.inference.scheduling.kv_slots import WORTHWHILE, KvSlots, shared_prefix
from align.inference.scheduling.plan import Chunk, Copy, StepPlan
from align.inference.scheduling.sequence import Sequence

__all__ = ["Chunk", "Copy", "Scheduler", "StepPlan"]

#: Prompt tokens a step, as a multiple of `chunk_tokens`, while no sequence decodes.
ALONE = 4


@dataclass(frozen=True)
class Hold:
    """A live sequence waits until `source` has computed the `count` tokens that they share."""

    source: Sequence
    count: int


class Scheduler:
    """Admits sequences to KV slots and adapters to bank slots, and plans each step.

    Adapters take turns; each turn admits a sequence. A live sequence owns a KV slot. An adapter
    with live sequences keeps its bank slot; adapters for which `kept` is true are evicted last. The
    engine executes each plan before any other call, then reports the results with `wrote` and
    `finish`.
    """

    def __init__(
        self,
        *,
        slots: int,
        bank_slots: int,
        chunk_tokens: int,
        reuse: bool,
        kept: Callable[[int], bool] = lambda _: False,
    ) -> None:
        if min(slots, bank_slots, chunk_tokens) < 1:
            raise ValueError("slots, bank_slots and chunk_tokens must be at least 1")
        self._chunk_tokens = chunk_tokens
        self._queues = FairQueues()
        share = max(1, slots // (bank_slots + 1))
        self._residency = Residency(bank_slots, share, self._queues.count, kept)
        self._slots = KvSlots(slots, reuse)
        # All dictionaries are in the order of admission.
        self._live: dict[int, Sequence] = {}
        self._reading: dict[int, Sequence] = {}
        self._writing: dict[int, Sequence] = {}
        self._holds: dict[int, Hold] = {}

    @property
    def busy(self) -> bool:
        """Whether any sequence is waiting or live."""
        return bool(self._live) or bool(self._queues)

    @property
    def live(self) -> list[Sequence]:
        """The sequences that have a KV slot, in the order of admission."""
        return list(self._live.values())

    @property
    def waiting(self) -> int:
        """Number of sequences that are not admitted yet."""
        return len(self._queues)

    def waiting_for(self, adapter: int) -> int:
        """Number of sequences of this adapter that are not admitted yet."""
        return self._queues.count(adapter)

    def uses(self, adapter: int) -> bool:
        """Whether this adapter has waiting or live sequences, so that its weights are needed."""
        return bool(self._queues.count(adapter) or self._residency.live(adapter))

    def bank_slot(self, adapter: int) -> int | None:
        """The adapter's bank slot, or None."""
        return self._residency.place(adapter)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence. ValueError if `reusable` is negative or covers the whole prompt."""
        if not 0 <= sequence.reusable < len(sequence.prompt):
            raise ValueError("reusable must be at least 0 and less than the prompt's length")
        self._queues.add(sequence)

    def cancel(self, sequence_id: int) -> None:
        """End a waiting or live sequence; no effect if it has ended."""
        if sequence_id in self._queues:
            self._residency.leave_if_over(self._queues.remove(sequence_id).adapter)
        elif sequence_id in self._live:
            self.finish(sequence_id)

    def finish(self, sequence_id: int) -> None:
        """End a live sequence; its slot is retained or freed. KeyError if it is not live."""
        sequence = self._live.pop(sequence_id)
        for group in (self._reading, self._writing, self._holds):
            group.pop(sequence_id, None)
        self._slots.release(sequence, retain=not self._residency.is_forgotten(sequence.adapter))
        self._residency.ended(sequence.adapter)
        self._residency.leave_if_over(sequence.adapter)

    def wrote(self, sequence_id: int, token: int) -> None:
        """Append a sampled token to a live sequence whose prompt is computed."""
        sequence = self._live[sequence_id]
        sequence.write(token)
        self._writing[sequence_id] = sequence

    def continuing(self, sequence_ids: Iterable[int]) -> list[int]:
        """Those of these sequences that decode on after a token that is not reported yet.

        It is known by the number of tokens alone: a sequence that the token ends for another reason
        is in the list too, and what is decoded for it is surplus.
        """
        live = [self._live[one] for one in sequence_ids if one in self._live]
        return [one.id for one in live if len(one.tokens) + 1 < one.max_new_tokens]

    def forget(self, adapter: int) -> None:
        """Unload an adapter. Its retained slots are freed now, its bank slot after its last use.

        Its waiting and live sequences continue; no sequence may be added.
        """
        self._slots.forget(adapter)
        self._residency.forget(adapter)
        self._residency.leave_if_over(adapter)

    def plan(self) -> StepPlan:
        """Plan the next step. `computed` of each sequence is its value after that step."""
        before = len(self._live)
        copies = [*self._end_holds(), *self._admit()]
        admitted = tuple(self._live)[before:]
        rows = tuple(self._writing)
        chunks = self._chunks(ALONE * self._chunk_tokens if not rows else self._chunk_tokens)
        for sequence in self._writing.values():
            sequence.computed += 1
        for chunk in chunks:
            sequence = self._reading[chunk.sequence]
            sequence.computed += chunk.count
            if not sequence.unread:
                del self._reading[chunk.sequence]
        evictions, residencies = self._residency.take_changes()
        return StepPlan(evictions, residencies, tuple(copies), chunks, rows, admitted)

    def _admit(self) -> list[Copy]:
        copies: list[Copy] = []
        if not self._queues:
            return copies
        while self._slots.available and (adapter := self._next_adapter()) is not None:
            sequence = self._queues.take(adapter)
            self._residency.started(adapter)
            self._live[sequence.id] = self._reading[sequence.id] = sequence
            copies += self._start(sequence)
        # Called last, so that an adapter with a new bank slot admits its sequences first. Adapters
        # still in the line found no bank slot: those that became idle also freed KV slots.
        self._residency.settle(self._queues.line)
        return copies

    def _next_adapter(self) -> int | None:
        """The adapter that admits a sequence next. The line has priority if a bank slot is free."""
        while True:
            first = self._queues.first_in_line
            if first is not None and self._residency.can_seat(first):
                self._residency.seat(first)
                return first
            adapter = self._queues.turn
            if adapter is None or self._residency.admits(adapter):
                return adapter
            self._queues.join_line(adapter)

    def _start(self, sequence: Sequence) -> list[Copy]:
        """Assign a slot and the longest prefix to a sequence, or hold it for a longer prefix."""
        prefix = self._slots.find(sequence)
        hold = self._hold(sequence, prefix.count if prefix else 0)
        if sequence.slot is None:
            self._slots.take(sequence, None if hold else prefix)
        assert sequence.slot is not None
        if hold:
            self._holds[sequence.id] = hold
            return []
        if prefix is None:
            return []
        sequence.computed = sequence.cached = prefix.count
        self._slots.touch(prefix.slot)
        in_place = prefix.slot == sequence.slot
        return [] if in_place else [Copy(prefix.slot, sequence.slot, prefix.count)]

    def _hold(self, sequence: Sequence, available: int) -> Hold | None:
        """The longest prefix that an earlier sequence will compute, if it is worth waiting for."""
        best: Hold | None = None
        beyond = available + WORTHWHILE - 1
        for other in self._reading.values():
            if other is sequence:
                break
            if other.adapter == sequence.adapter:
                limit = min(len(other.prompt), sequence.reusable)
                count = shared_prefix(other.content, sequence.content, beyond, limit)
                if count:
                    best, beyond = Hold(other, count), count
        return best

    def _end_holds(self) -> list[Copy]:
        copies: list[Copy] = []
        for sequence_id, hold in list(self._holds.items()):
            computing = hold.source.id in self._reading and hold.source.computed < hold.count
            if not computing:
                del self._holds[sequence_id]
                copies += self._start(self._live[sequence_id])
        return copies

    def _chunks(self, budget: int) -> tuple[Chunk, ...]:
        needed: dict[int, int] = {}
        for hold in self._holds.values():
            source = hold.source.id
            needed[source] = min(hold.count, needed.get(source, hold.count))
        reading = [s for s in self._reading.values() if s.id not in self._holds]
        return share_out(reading, budget, needed)
