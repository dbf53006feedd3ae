"""Random adapters in a linear layer's `StackedLora`, and what they add, by hand."""

import torch

from align.inference.kernels import Columns
from tests.align.inference.kernels.random_batches import random

CPU = torch.device("cpu")


class RandomLora:
    """A layer of `outs` side by side; `ranks[part][slot]` are ranks, 0 for no factors."""

    def __init__(self, ops, dtype, width, outs, ranks):
        self.dtype, self.width, self.outs = dtype, width, outs
        self.columns = Columns(len(ranks[0]), 1024, CPU)
        self.lora = ops.lora(self.columns, torch.empty(1, width, dtype=dtype), outs)
        self.adapters = {}
        for slot, of_parts in enumerate(zip(*ranks, strict=True)):
            self.put(slot, of_parts, seed=slot)

    def put(self, slot, ranks, seed, scale=1.0):
        """Random factors of these ranks for a bank slot."""
        pairs = []
        for at, (rank, out) in enumerate(zip(ranks, self.outs, strict=True)):
            a = scale * random(self.dtype, rank, self.width, seed=100 * seed + 2 * at)
            b = random(self.dtype, rank, out, seed=100 * seed + 2 * at + 1)
            pairs.append((a, b) if rank else None)
        self.columns.assign(slot, max(ranks))
        self.lora.put(slot, pairs)
        self.adapters[slot] = pairs

    def by_hand(self, x, y, bank):
        """y plus the deltas of each row's adapter, in fp64."""
        wide = y.double()
        for row, slot in enumerate(bank):
            offset = 0
            for pair, out in zip(self.adapters.get(slot, ()), self.outs, strict=False):
                if pair is not None:
                    delta = pair[1].double().T @ (pair[0].double() @ x[row].double())
                    wide[row, offset : offset + out] += delta
                offset += out
        return wide.to(y.dtype)
