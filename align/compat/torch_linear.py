"""Linear layers with weights in oneDNN's layout, by private operators of torch 2.13.

`torch.compile` uses the operators if it freezes a model, but compiling the whole model is slower
than running it eagerly. No public request is known; what is wanted are public operators that pack
a weight once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Product = Callable[[torch.Tensor], torch.Tensor]


def pack(weight: torch.Tensor, bias: torch.Tensor | None) -> Product | None:
    """`x W.T + bias` with a packed `weight` (out, in) in bf16; None if torch lacks the operators.

    The product takes (rows, in) and returns (rows, out).
    """
    try:
        packed = _Packed(weight, bias)
        packed(weight.new_zeros(1, weight.shape[1]))
    except (AttributeError, RuntimeError):
        return None
    return packed


class _Packed:
    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None):
        self._weight, self._bias = torch.ops.mkldnn._reorder_linear_weight(weight), bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, "none", [], ""
        )
        return out
