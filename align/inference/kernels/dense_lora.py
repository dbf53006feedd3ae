"""LoRA of all adapters in a bank as one product: `((x A_all.T) * mask) B_all`.

Each factor is read once, whatever the number of tokens, and an adapter costs only its own rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch.nn import functional

from align.inference.kernels.batch import Batch
from align.inference.kernels.columns import ColumnBlock, Columns
from align.inference.kernels.ops import Pair


class DenseLora:
    """Factors of all adapters for linears on the same input, `columns.capacity` columns each.

    `_a` is (linears, capacity, in): the linears share a product. `_b` has a tensor (linears,
    capacity, out) for each run of linears with equally many outputs, which share another. Columns
    of a module that an adapter leaves alone are zero; free columns hold any finite numbers.
    """

    def __init__(self, columns: Columns, weight: torch.Tensor, widths: Sequence[int]):
        self._columns = columns
        self._a = weight.new_zeros(len(widths), 0, weight.shape[-1])
        self._runs = [(width, len(list(run))) for width, run in groupby(widths)]
        self._b = [weight.new_zeros(count, 0, width) for width, count in self._runs]

    def put(self, slot: int, pairs: Sequence[Pair | None]) -> None:
        """See `StackedLora`."""
        if self._a.shape[1] < self._columns.capacity:
            self._grow(self._columns.capacity)
        index = self._columns.index(slot)
        parts = zip(self._a, (part for run in self._b for part in run), pairs, strict=True)
        for a, b, pair in parts:
            rank = 0 if pair is None else pair[0].shape[0]
            for factor, rows in zip((a, b), pair or (), strict=False):
                factor.index_copy_(0, index[:rank], rows.to(factor, non_blocking=True))
            if rank < len(index):
                a.index_fill_(0, index[rank:], 0)
                b.index_fill_(0, index[rank:], 0)

    def _grow(self, capacity: int) -> None:
        self._a = _grown(self._a, capacity)
        self._b = [_grown(b, capacity) for b in self._b]
        self._columns.version += 1

    def add(self, x: torch.Tensor, y: torch.Tensor, batch: Batch) -> None:
        """See `StackedLora`."""
        for block in self._columns.blocks(batch):
            self._add(x, y, block)

    def _add(self, x: torch.Tensor, y: torch.Tensor, block: ColumnBlock) -> None:
        linears, _, width = self._a.shape
        a = self._a[:, block.columns].reshape(-1, width)
        narrow = functional.linear(x[block.rows], a)
        narrow = narrow.view(narrow.shape[0], linears, -1)
        if block.foreign is not None:
            # Filled, not multiplied: the overflow of another adapter times 0 is NaN.
            narrow.masked_fill_(block.foreign[:, None], 0)
        narrow, out, linear, offset = narrow.transpose(0, 1), y[block.rows], 0, 0
        for (width, count), b in zip(self._runs, self._b, strict=True):
            part = out[:, offset : offset + count * width].unflatten(1, (count, width))
            part.transpose(0, 1).baddbmm_(narrow[linear : linear + count], b[:, block.columns])
            linear, offset = linear + count, offset + count * width


def _grown(factor: torch.Tensor, capacity: int) -> torch.Tensor:
    """A factor (linears, columns, width) with zeros for further columns."""
    grown = factor.new_zeros(factor.shape[0], capacity, factor.shape[2])
    grown[:, : factor.shape[1]] = factor
    return grown
