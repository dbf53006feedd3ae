"""The operations of a forward pass, apart from matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from align.inference.kernels.batch import Batch, LayerCache
from align.inference.kernels.columns import Columns

#: LoRA factors of a linear: A (rank, in) and B (rank, out), B with the scaling.
Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Heads:
    """The shape of a layer's attention; with `window` None every key is visible.

    `query_norm` and `key_norm` are (head,) weights of an RMS norm before rotation, or None.
    """

    heads: int
    kv_heads: int
    head: int
    scale: float
    window: int | None = None
    query_norm: torch.Tensor | None = None
    key_norm: torch.Tensor | None = None
    eps: float = 1e-6

    @property
    def width(self) -> int:
        """Width of queries, keys and values side by side."""
        return (self.heads + 2 * self.kv_heads) * self.head


class Attention(Protocol):
    """Attention of a layer over its cache."""

    def rotate_and_store(
        self, qkv: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        """Normalise if the layer has norms, rotate, and write keys and values to the cache.

        qkv (N, width), cosine and sine (N, head). Returns a tensor (N, …) whose rows begin with the
        queries ready for `attend`, possibly qkv itself modified in place.
        """
        ...

    def attend(self, qkv: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Decode: attention of each row's query over its slot → (N, heads * head).

        `qkv` is the result of `rotate_and_store`.
        """
        ...


class StackedLora(Protocol):
    """LoRA factors of all adapters in a bank for a linear layer."""

    def put(self, slot: int, pairs: Sequence[Pair | None]) -> None:
        """Replace the factors of a bank slot; None for a linear that the adapter leaves alone.

        The columns of the slot have been assigned. Factors may be in CPU memory.
        """
        ...

    def add(self, x: torch.Tensor, y: torch.Tensor, batch: Batch) -> None:
        """y (N, outs) += LoRA of x (N, in), with the bank slot of each token."""
        ...


class Ops(Protocol):
    """Tensors are contiguous, of one dtype and on one device; N is the batch's number of tokens.

    `few_launches` says that launching an operation costs more than some needless arithmetic.
    """

    few_launches: bool

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """x (…, width) divided by its root mean square, times weight."""
        ...

    def silu_mul(self, x: torch.Tensor) -> torch.Tensor:
        """(…, 2 * width), gate and up side by side → silu(gate) * up (…, width)."""
        ...

    def attention(self, heads: Heads, cache: LayerCache) -> Attention:
        """The attention of a layer with these heads over this cache."""
        ...

    def lora(self, columns: Columns, weight: torch.Tensor, widths: Sequence[int]) -> StackedLora:
        """LoRA of linears on the same input, with outputs of `widths` side by side.

        `weight` (…, in) has the dtype and device of the factors.
        """
        ...
