"""A parent adapter under a new adapter, unmerged: in half precision, merging loses part of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from align.adapters.tensors import LoraFactors
from align.errors import AdapterError
from align.fp16 import OwnDtypeLinear


class LinearWithParent(nn.Linear):
    """A frozen linear layer plus its parent's delta: `W x + B (A x)`.

    It is an `nn.Linear`, so PEFT wraps it like any other. With the new adapter off it computes
    exactly the parent's output. On an `OwnDtypeLinear` it computes in the weight's dtype, too.
    """

    def __init__(self, linear: nn.Linear, a: torch.Tensor, b: torch.Tensor):
        nn.Module.__init__(self)  # no new weight: it is shared
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.register_buffer("parent_a", a.to(linear.weight), persistent=False)
        self.register_buffer("parent_b", b.to(linear.weight), persistent=False)
        self.parent_a: torch.Tensor
        self.parent_b: torch.Tensor
        self._own_dtype = isinstance(linear, OwnDtypeLinear)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (…, in) → (…, out)."""
        if not self._own_dtype:
            return self._sum(x)
        with torch.autocast(x.device.type, enabled=False):
            return self._sum(x.to(self.weight.dtype))

    def _sum(self, x: torch.Tensor) -> torch.Tensor:
        delta = nn.functional.linear(nn.functional.linear(x, self.parent_a), self.parent_b)
        return nn.functional.linear(x, self.weight, self.bias) + delta


def put_beneath(model: Any, parent: LoraFactors) -> None:
    """Replace, in place, each linear layer that the parent adapts.

    AdapterError if the model lacks such a layer or its shape differs.
    """
    modules = dict(model.named_modules())
    for name, (a, b) in parent.modules.items():
        linear = modules.get(name)
        if not isinstance(linear, nn.Linear):
            raise AdapterError(f"the parent adapts '{name}', which this base does not have")
        if (b.shape[0], a.shape[1]) != (linear.out_features, linear.in_features):
            raise AdapterError(
                f"the parent's '{name}' is {b.shape[0]}x{a.shape[1]}, the base's is "
                f"{linear.out_features}x{linear.in_features}: it was trained on another base"
            )
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, LinearWithParent(linear, a, b))
