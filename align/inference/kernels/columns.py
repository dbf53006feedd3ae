"""The columns that adapters occupy in dense LoRA factors, and which of them a token uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from align.inference.kernels.batch import Batch
from align.inference.scheduling.lora_blocks import NEEDLESS, merged
from align.inference.transfers import upload

#: Owner of a free column; a token without an adapter has bank slot -1.
_FREE = -2
_MULTIPLE = 16  # of columns: tensor cores and vector loads take whole tiles


@dataclass(frozen=True)
class ColumnBlock:
    """A run of tokens and the columns that they use.

    `foreign` (tokens, columns) is True where a column belongs to the adapter of another token; None
    if all tokens share an adapter.
    """

    rows: slice
    columns: slice | torch.Tensor
    foreign: torch.Tensor | None


class Columns:
    """Columns of a bank of `slots` adapters: an adapter of rank r has any r free columns.

    The same columns serve all linear layers. `capacity` grows geometrically with the sum of ranks.
    `version` increases whenever tensors that hold columns are reallocated.
    """

    def __init__(self, slots: int, max_rank: int, device: torch.device):
        self.slots, self.max_rank = slots, max_rank
        self.capacity, self.version = 0, 0
        self._of: dict[int, list[int]] = {}
        self._index: dict[int, torch.Tensor] = {}
        self._free: list[int] = []
        self._owner = torch.empty(0, dtype=torch.int32, device=device)

    def assign(self, slot: int, rank: int) -> None:
        """Free the columns of a slot and give it `rank` others."""
        self._free = sorted(self._free + self._of.pop(slot, []))
        if rank > len(self._free):
            largest = max(rank, *map(len, self._of.values()), 0)
            self._grow(self.capacity - len(self._free) + rank, self.slots * largest)
        self._of[slot], self._free = self._free[:rank], self._free[rank:]
        self._index[slot] = self._on_device(self._of[slot])
        self._owner.masked_fill_(self._owner == slot, _FREE)
        self._owner.index_fill_(0, self._index[slot], slot)

    def index(self, slot: int) -> torch.Tensor:
        """The columns of a slot (rank,) int64."""
        return self._index[slot]

    def blocks(self, batch: Batch) -> Sequence[ColumnBlock]:
        """Runs of tokens that cover all tokens with an adapter, made once in a pass.

        Where `few_launches`, a decode step is a single block with all columns, whatever adapters it
        has, so that it can be captured as a CUDA graph.
        """
        make = self._all if batch.few_launches and not batch.spans else self._by_groups
        return batch.once("columns", lambda: make(batch))

    def _all(self, batch: Batch) -> list[ColumnBlock]:
        return [ColumnBlock(slice(None), slice(None), self._owner != batch.bank[:, None])]

    def _by_groups(self, batch: Batch) -> list[ColumnBlock]:
        needless = NEEDLESS if batch.few_launches else 0
        ranks = {slot: len(columns) for slot, columns in self._of.items()}
        blocks = []
        groups = batch.groups if batch.spans else _runs(batch.bank.tolist())
        groups = [group for group in groups if ranks.get(group[2])]
        for first, end, slots in merged(groups, ranks.__getitem__, needless):
            rows, columns = slice(first, end), self._selection(slots)
            foreign = None
            if (first, end, *slots) not in groups:  # several adapters, or tokens without any
                foreign = self._owner[columns] != batch.bank[rows, None]
            blocks.append(ColumnBlock(rows, columns, foreign))
        return blocks

    def _selection(self, slots: frozenset[int]) -> slice | torch.Tensor:
        """The columns of these slots: without a copy where they are neighbours.

        All columns where several slots have more than half of them: the others are masked.
        """
        chosen = sorted(column for slot in slots for column in self._of[slot])
        if chosen[-1] - chosen[0] + 1 == len(chosen):
            return slice(chosen[0], chosen[-1] + 1)
        if len(slots) > 1 and 2 * len(chosen) > self.capacity:
            return slice(None)
        return self._on_device(chosen)

    def _on_device(self, columns: list[int]) -> torch.Tensor:
        return upload(columns, torch.int64, self._owner.device)

    def _grow(self, needed: int, most: int) -> None:
        """To `needed` columns, and by half if no more than `most` would be used."""
        wanted = max(needed, min(self.capacity * 3 // 2, most))
        capacity = -(-wanted // _MULTIPLE) * _MULTIPLE
        self._free += range(self.capacity, capacity)
        owner = self._owner.new_full((capacity,), _FREE)
        owner[: self.capacity] = self._owner
        self._owner, self.capacity = owner, capacity
        self.version += 1


def _runs(bank: Sequence[int]) -> list[tuple[int, int, int]]:
    """Runs (first row, end, slot) of rows with the same bank slot, without rows of slot -1."""
    runs, first = [], 0
    for slot, rows in groupby(bank):
        end = first + len(list(rows))
        if slot >= 0:
            runs.append((first, end, slot))
        first = end
    return runs
