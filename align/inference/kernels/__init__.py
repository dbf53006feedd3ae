"""Operations between matrix products: in C on a CPU with a compiler, in torch elsewhere."""

from __future__ import annotations

import torch

from align.inference.kernels.batch import Batch, LayerCache
from align.inference.kernels.build import compiled
from align.inference.kernels.columns import Columns
from align.inference.kernels.native import NativeOps
from align.inference.kernels.ops import Attention, Heads, Ops, Pair, StackedLora
from align.inference.kernels.plain import PlainOps

__all__ = [
    "Attention",
    "Batch",
    "Columns",
    "Heads",
    "LayerCache",
    "Ops",
    "Pair",
    "StackedLora",
    "choose_ops",
]


def choose_ops(device: torch.device, dtype: torch.dtype) -> Ops:
    """The fastest operations available on this machine for tensors of this device and dtype."""
    library = compiled(dtype) if device.type == "cpu" else None
    if library is not None:
        return NativeOps(library)
    return PlainOps(few_launches=device.type != "cpu")
