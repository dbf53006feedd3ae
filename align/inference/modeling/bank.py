"""Many adapters on one frozen base: linear layers that add the LoRA of each token's adapter."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from align.adapters.tensors import LoraFactors
from align.errors import AdapterError
from align.inference.kernels import Batch, LoraPart, Ops, StackedLora
from align.inference.modeling.packed_linear import product

#: An adapter in the bank's dtype: A (rank, in) and B (rank, out) by module. B includes the scaling.
Prepared = Mapping[str, tuple[torch.Tensor, torch.Tensor]]


class Bank:
    """Holds `slots` adapters of mixed ranks and targets; `batch` assigns tokens to adapters.

    Memory for a pair of factors is allocated for each slot and module, with the largest rank so
    far.
    """

    def __init__(self, slots: int, max_rank: int, ops: Ops):
        self.slots, self.max_rank, self.ops = slots, max_rank, ops
        self.batch: Batch | None = None
        self.version = 0  # increases whenever factors are reallocated
        self._linears: list[BankLinear] = []
        self._shapes: dict[str, tuple[int, int]] = {}

    def linear(self, parts: Mapping[str, nn.Linear]) -> BankLinear:
        """A layer for these linears (by full module name), with their outputs side by side."""
        layer = BankLinear(parts, self)
        self._linears.append(layer)
        for name, linear in parts.items():
            self._shapes[name] = (linear.out_features, linear.in_features)
        return layer

    def prepare(self, factors: LoraFactors, source: str) -> Prepared:
        """Check and convert factors for `put`. AdapterError naming `source` if they do not fit."""
        weight = self._linears[0].weight
        prepared = {}
        for name, (a, b) in factors.modules.items():
            if name not in self._shapes:
                known = sorted({module.rpartition(".")[2] for module in self._shapes})
                raise AdapterError(
                    f"{source}: it adapts '{name}'; this base's bank adapts {', '.join(known)}"
                )
            if self._shapes[name] != (b.shape[0], a.shape[1]) or a.shape[0] != b.shape[1]:
                out, width = self._shapes[name]
                raise AdapterError(
                    f"{source}: '{name}' is {b.shape[0]}x{a.shape[1]} with rank {a.shape[0]}, "
                    f"the base's is {out}x{width}: it was trained on another base"
                )
            if not 0 < a.shape[0] <= self.max_rank:
                raise AdapterError(
                    f"{source}: '{name}' has rank {a.shape[0]}, over this bank's limit of "
                    f"{self.max_rank}; raise max_rank"
                )
            pair = (a.to(weight).contiguous(), b.T.to(weight).contiguous())
            if not all(bool(torch.isfinite(factor).all()) for factor in pair):
                raise AdapterError(
                    f"{source}: '{name}' holds values that are no numbers in "
                    f"{str(weight.dtype).removeprefix('torch.')}"
                )
            prepared[name] = pair
        return prepared

    def put(self, slot: int, adapter: Prepared) -> None:
        """Write an adapter to a slot and overwrite the previous adapter."""
        for linear in self._linears:
            linear.put(slot, adapter)


class BankLinear(nn.Module):
    """`x W.T + bias` plus the LoRA of each token; fused for several linears on the same input.

    The weights are copied into a single tensor (packed for the processor where that is faster),
    unless there is a single linear and no packing.
    """

    def __init__(self, parts: Mapping[str, nn.Linear], bank: Bank):
        super().__init__()
        self._bank, self._names = bank, tuple(parts)
        linears = list(parts.values())
        self._product = product(linears)
        self._widths = [linear.out_features for linear in linears]
        self.in_features, self.out_features = linears[0].in_features, sum(self._widths)
        self.weight = linears[0].weight
        self._parts: tuple[LoraPart, ...] = ()
        self._lora: StackedLora | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (…, in) → (…, out)."""
        y = self._product(x)
        batch = self._bank.batch
        if batch is None or not batch.adapted or self._lora is None:
            return y
        rows = x.to(y.dtype).contiguous().view(-1, self.in_features)  # some families pass a slice
        self._lora.add(rows, y.view(-1, self.out_features), batch)
        return y

    def put(self, slot: int, adapter: Prepared) -> None:
        """Write the adapter's factors for this layer to a slot."""
        pairs = [adapter.get(name) for name in self._names]
        largest = max((pair[0].shape[0] for pair in pairs if pair is not None), default=0)
        if largest > self._capacity:
            self._grow(largest)
        for part, pair in zip(self._parts, pairs, strict=False):
            rank = 0 if pair is None else pair[0].shape[0]
            part.ranks[slot] = rank
            part.a[slot, rank:], part.b[slot, rank:] = 0, 0
            if pair is not None:
                part.a[slot, :rank], part.b[slot, :rank] = pair

    @property
    def _capacity(self) -> int:
        return self._parts[0].a.shape[1] if self._parts else 0

    def _grow(self, rank: int) -> None:
        """Enlarge every slot to this rank and keep the factors that are loaded."""
        rank, old = min(1 << (rank - 1).bit_length(), self._bank.max_rank), self._parts
        slots, weight, offset, parts = self._bank.slots, self.weight, 0, []
        for index, width in enumerate(self._widths):
            a = weight.new_zeros(slots, rank, self.in_features)
            b = weight.new_zeros(slots, rank, width)
            ranks = torch.zeros(slots, dtype=torch.int32, device=weight.device)
            if old:
                a[:, : self._capacity], b[:, : self._capacity] = old[index].a, old[index].b
                ranks = old[index].ranks
            parts.append(LoraPart(a, b, ranks, offset))
            offset += width
        self._parts = tuple(parts)
        self._bank.version += 1
        self._lora = self._bank.ops.lora(self._parts)
