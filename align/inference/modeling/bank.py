"""Many adapters on one frozen base: linear layers that add the LoRA of each token's adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from align.adapters.tensors import LoraFactors
from align.errors import AdapterError
from align.inference.kernels import Batch, Columns, Ops, Pair
from align.inference.modeling.packed_linear import product

#: An adapter in the bank's dtype, factors by module, in CPU memory or on the bank's device.
Prepared = Mapping[str, Pair]


class Bank:
    """Holds `slots` adapters of mixed ranks and targets; `batch` assigns tokens to adapters.

    Memory for factors is allocated when adapters are put, for the linears that they adapt.
    """

    def __init__(self, slots: int, max_rank: int, ops: Ops, device: torch.device | None = None):
        self.max_rank, self.ops = max_rank, ops
        self.columns = Columns(slots, max_rank, device or torch.device("cpu"))
        self.batch: Batch | None = None
        self._linears: list[BankLinear] = []
        self._shapes: dict[str, tuple[int, int]] = {}

    @property
    def version(self) -> int:
        """A number that increases whenever factors are reallocated."""
        return self.columns.version

    def begin(self, batch: Batch) -> Batch:
        """Start a forward pass over these tokens; what its layers share is computed anew.

        A recorded pass needs that too: it has to contain what is computed from its inputs.
        """
        self.batch = replace(batch, few_launches=self.ops.few_launches)
        return self.batch

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
                    f"{self.max_rank}; raise max_rank, or give the bank more memory by fewer "
                    "adapters or slots"
                )
            prepared[name] = (a.to(weight.dtype).contiguous(), b.T.to(weight.dtype).contiguous())
        _check_finite(prepared, source)
        return {name: (_pinned(a), _pinned(b)) for name, (a, b) in prepared.items()}

    def put(self, slot: int, adapter: Prepared) -> None:
        """Write an adapter to a slot and overwrite the previous adapter."""
        self.columns.assign(slot, max((a.shape[0] for a, _ in adapter.values()), default=0))
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
        widths = [linear.out_features for linear in linears]
        self.in_features, self.out_features = linears[0].in_features, sum(widths)
        self.weight = linears[0].weight
        self._lora = bank.ops.lora(bank.columns, self.weight, widths)
        self._adapted = False  # by any adapter so far

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (…, in) → (…, out)."""
        y = self._product(x)
        batch = self._bank.batch
        if batch is None or not batch.adapted or not self._adapted:
            return y
        if x.dtype != y.dtype:
            x = x.to(y.dtype)
        rows = x.contiguous().view(-1, self.in_features)  # some families pass a slice
        self._lora.add(rows, y.view(-1, self.out_features), batch)
        return y

    def put(self, slot: int, adapter: Prepared) -> None:
        """Write the adapter's factors for this layer to a slot."""
        pairs = [adapter.get(name) for name in self._names]
        self._adapted = self._adapted or any(pair is not None for pair in pairs)
        if self._adapted:
            self._lora.put(slot, pairs)


def _check_finite(adapter: Prepared, source: str) -> None:
    """AdapterError for NaN and infinity, which also rounding to the bank's dtype may cause."""
    factors = [factor for pair in adapter.values() for factor in pair]
    finite = [torch.isfinite(factor).all() for factor in factors]  # all on one device
    if not finite or bool(torch.stack(finite).all()):  # read back once: a GPU waits each time
        return
    wrong = next(
        name for name, pair in adapter.items() if not all(torch.isfinite(f).all() for f in pair)
    )
    dtype = str(adapter[wrong][0].dtype).removeprefix("torch.")
    raise AdapterError(f"{source}: '{wrong}' holds values that are no numbers in {dtype}")


def _pinned(factor: torch.Tensor) -> torch.Tensor:
    """In memory that a GPU reads while its work goes on, if there is a GPU."""
    if torch.cuda.is_available() and factor.device.type == "cpu":
        return factor.pin_memory()
    return factor
