"""`x W.T + bias` for frozen weights, in the form that this machine multiplies fastest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

Product = Callable[[torch.Tensor], torch.Tensor]


def product(linears: Sequence[nn.Linear]) -> Product:
    """One product for linears on the same input, their outputs side by side.

    On a CPU in bf16 the weights are packed once into oneDNN's own layout: a decode step's products
    then take two thirds of the time. Elsewhere the linears' weights become views of the fused one,
    so that a model that is fused is not held twice.
    """
    weight, bias = linears[0].weight.detach(), _bias(linears)
    packing = weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    if len(linears) > 1:
        weight = torch.cat([one.weight.detach() for one in linears])
        if not packing:
            for one, part in zip(
                linears, weight.split([one.out_features for one in linears]), strict=True
            ):
                one.weight.data = part
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
    """The operators are torch's own but private: where they are not, the plain product is right."""
    try:
        made = _Packed(weight, bias)
        made(weight.new_zeros(1, weight.shape[1]))
    except (AttributeError, RuntimeError):
        return _Plain(weight, bias)
    return made


def _bias(linears: Sequence[nn.Linear]) -> torch.Tensor | None:
    if all(one.bias is None for one in linears):
        return None
    parts = [
        one.weight.new_zeros(one.out_features) if one.bias is None else one.bias.detach()
        for one in linears
    ]
    return torch.cat(parts)
