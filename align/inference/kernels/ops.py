"""The operations that a forward pass is made of, apart from matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from align.inference.kernels.batch import Batch, LayerCache, LoraPart


@dataclass(frozen=True)
class Heads:
    """The shape of one layer's attention; `window` None: every key is seen.

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
        """Of queries, keys and values side by side."""
        return (self.heads + 2 * self.kv_heads) * self.head


class Attention(Protocol):
    """One layer's attention over one layer's cache."""

    def rotate_and_store(
        self, qkv: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        """Normalise where the layer does, rotate, and put keys and values into the cache.

        qkv (N, width), cosine and sine (N, head). Returns qkv with queries ready for `attend`;
        it may be the same tensor, changed in place.
        """
        ...

    def attend(self, qkv: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Decoding: each row's query over its slot → (N, heads * head)."""
        ...


class StackedLora(Protocol):
    """All adapters' factors for one linear layer."""

    def add(self, x: torch.Tensor, y: torch.Tensor, batch: Batch) -> None:
        """y (N, outs) += x (N, in) through each token's own bank slot."""
        ...


class Ops(Protocol):
    """Tensors are contiguous, of one dtype, on one device; N is the batch's tokens."""

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """x (…, width) over its root mean square, times weight."""
        ...

    def silu_mul(self, x: torch.Tensor) -> torch.Tensor:
        """(…, 2 * width), gate and up side by side → silu(gate) * up (…, width)."""
        ...

    def attention(self, heads: Heads, cache: LayerCache) -> Attention:
        """The attention of a layer with these heads over this cache."""
        ...

    def lora(self, parts: Sequence[LoraPart]) -> StackedLora:
        """The sum that these factors stand for; they are read at each call, not copied."""
        ...
