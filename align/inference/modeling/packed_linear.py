"""`x W.T + bias` for frozen weights, in the layout that is fastest on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

Product = Callable[[torch.Tensor], torch.Tensor]


def product(linears: Sequence[nn.Linear]) -> Product:
    """A single product for linears on the same input, with their outputs side by side.

    On a CPU in bf16 the weights are packed once into oneDNN's layout, which reduces the products'
    time in a decode step to two thirds. Otherwise the weights of the linears become views of the
    fused weight, so that they are not in memory twice.
    """
    weight, bias = linears[0].weight.detach(), _bias(linears)
    packing = weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    if len(linears) > 1:
        weight = torch.cat([linear.weight.detach() for linear in linears])
        if not packing:
            for linear, part in zip(
                linears, weight.split([layer.out_features for layer in linears]), strict=True
            ):
                linear.weight.data = part
    return _packed(weight, bias) if packing else _Plain(weight, bias)


class _Plain:
    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None):
        self._weight, self._bias = weight, bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self._weight, self._bias)


class _Packed:
    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None):
        self._weight, self._bias = torch.ops.mkldnn._reorder_linear_weight(weight), bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, "none", [], ""
        )
        return out


def _packed(weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
    """The packed product, or the plain product where torch lacks the private operators."""
    try:
        packed = _Packed(weight, bias)
        packed(weight.new_zeros(1, weight.shape[1]))
    except (AttributeError, RuntimeError):
        return _Plain(weight, bias)
    return packed


def _bias(linears: Sequence[nn.Linear]) -> torch.Tensor | None:
    if all(linear.bias is None for linear in linears):
        return None
    parts = [
        linear.weight.new_zeros(linear.out_features)
        if linear.bias is None
        else linear.bias.detach()
        for linear in linears
    ]
    return torch.cat(parts)
