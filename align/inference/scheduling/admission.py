"""Queues of waiting sequences, fair between adapters: a busy adapter does not delay the others."""

from __future__ import annotations

from collections import OrderedDict

from align.inference.scheduling.sequence import Sequence


class FairQueues:
    """A first-in-first-out queue for each adapter; adapters take turns (round robin).

    An adapter that cannot be admitted at its turn moves from the round to the line, where adapters
    wait for a bank slot in the order of their turns.
    """

    def __init__(self) -> None:
        self._queues: dict[int, OrderedDict[int, Sequence]] = {}
        self._adapters: dict[int, int] = {}
        self._round: OrderedDict[int, None] = OrderedDict()
        self._line: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        """Number of waiting sequences."""
        return len(self._adapters)

    def __contains__(self, sequence_id: int) -> bool:
        return sequence_id in self._adapters

    def count(self, adapter: int) -> int:
        """Number of sequences that wait for this adapter."""
        return len(self._queues.get(adapter, ()))

    @property
    def line(self) -> int:
        """Number of adapters that wait for a bank slot."""
        return len(self._line)

    @property
    def first_in_line(self) -> int | None:
        """The adapter that gets the next bank slot."""
        return next(iter(self._line), None)

    @property
    def turn(self) -> int | None:
        """The adapter whose turn it is."""
        return next(iter(self._round), None)

    def add(self, sequence: Sequence) -> None:
        """Put a sequence last in its adapter's queue; a new adapter's turn comes last."""
        self._adapters[sequence.id] = sequence.adapter
        if sequence.adapter not in self._queues:
            self._queues[sequence.adapter] = OrderedDict()
            self._round[sequence.adapter] = None
        self._queues[sequence.adapter][sequence.id] = sequence

    def take(self, adapter: int) -> Sequence:
        """Remove an adapter's oldest sequence; the adapter moves to the end of the round."""
        _, sequence = self._queues[adapter].popitem(last=False)
        del self._adapters[sequence.id]
        self._line.pop(adapter, None)
        self._round[adapter] = None
        self._round.move_to_end(adapter)
        self._drop_if_empty(adapter)
        return sequence

    def remove(self, sequence_id: int) -> Sequence:
        """Remove a waiting sequence. KeyError if it does not wait."""
        adapter = self._adapters.pop(sequence_id)
        sequence = self._queues[adapter].pop(sequence_id)
        self._drop_if_empty(adapter)
        return sequence

    def join_line(self, adapter: int) -> None:
        """Move an adapter from the round to the end of the line."""
        del self._round[adapter]
        self._line[adapter] = None

    def _drop_if_empty(self, adapter: int) -> None:
        if not self._queues[adapter]:
            del self._queues[adapter]
            self._round.pop(adapter, None)
            self._line.pop(adapter, None)
