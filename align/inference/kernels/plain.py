"""Operations in torch: on a GPU, in fp16, and on a CPU without a compiler.

All shapes depend on the batch's size and `longest` alone and nothing is read back, so that a
decode step can be captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from align.inference.kernels.batch import Batch, LayerCache, LoraPart
from align.inference.kernels.ops import Attention, Heads, StackedLora


class PlainOps:
    """`Ops` without anything to compile."""

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """See `Ops`; rounded between the two factors, as transformers does."""
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        return weight * scaled.to(x.dtype)

    def silu_mul(self, x: torch.Tensor) -> torch.Tensor:
        """See `Ops`."""
        gate, up = x.chunk(2, dim=-1)
        return functional.silu(gate) * up

    def attention(self, heads: Heads, cache: LayerCache) -> Attention:
        """See `Ops`."""
        return _PlainAttention(self, heads, cache)

    def lora(self, parts: Sequence[LoraPart]) -> StackedLora:
        """See `Ops`."""
        return _PlainLora(parts)


class _PlainAttention:
    def __init__(self, ops: PlainOps, heads: Heads, cache: LayerCache):
        self._ops, self._heads, self._cache = ops, heads, cache

    def rotate_and_store(
        self, qkv: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        shape, rows = self._heads, qkv.shape[0]
        every = qkv.view(rows, -1, shape.head)
        queries, keys, values = every.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
        if shape.query_norm is not None and shape.key_norm is not None:
            queries = self._ops.rms_norm(queries, shape.query_norm, shape.eps)
            keys = self._ops.rms_norm(keys, shape.key_norm, shape.eps)
        queries, keys = _rotated(queries, cosine, sine), _rotated(keys, cosine, sine)
        store(self._cache, keys, values, batch)
        return torch.cat([queries, keys, values], dim=1).view(rows, -1)

    def attend(self, qkv: torch.Tensor, batch: Batch) -> torch.Tensor:
        shape = self._heads
        queries = qkv[:, : shape.heads * shape.head].view(qkv.shape[0], -1, shape.head)
        return attend_rows(self._cache, queries, batch, shape.scale, shape.window)


def store(cache: LayerCache, keys: torch.Tensor, values: torch.Tensor, batch: Batch) -> None:
    """Put keys and values (N, kv heads, head) at the batch's slots and positions."""
    slots, positions = batch.slots.long(), batch.positions.long()
    cache.keys[slots, :, positions] = keys
    cache.values[slots, :, positions] = values


def attend_rows(
    cache: LayerCache, queries: torch.Tensor, batch: Batch, scale: float, window: int | None
) -> torch.Tensor:
    """Decoding: each row's query (N, heads, head) over its slot → (N, heads * head)."""
    rows, head, device = queries.shape[0], queries.shape[2], queries.device
    places = torch.arange(batch.longest, device=device)
    newest = batch.positions[:, None]
    # Beyond its newest token a row gets that token again: what lies there may be NaN, and so is
    # 0 times NaN.
    at = (
        batch.slots.long()[:, None, None],
        torch.arange(cache.keys.shape[1], device=device)[:, None],
        torch.minimum(places, newest)[:, None],
    )
    keys, values = cache.keys[at], cache.values[at]
    seen = places <= newest
    if window is not None:
        seen &= places > newest - window
    # The heads of a group are put as several queries of one head: nothing is repeated.
    grouped = queries.reshape(rows, keys.shape[1], -1, head)
    out = functional.scaled_dot_product_attention(
        grouped, keys, values, attn_mask=seen[:, None, None], scale=scale
    )
    return out.reshape(rows, -1)


class _PlainLora:
    def __init__(self, parts: Sequence[LoraPart]):
        self._parts = tuple(parts)

    def add(self, x: torch.Tensor, y: torch.Tensor, batch: Batch) -> None:
        for part in self._parts:
            to = y[:, part.offset : part.offset + part.b.shape[2]]
            if batch.spans:
                for start, end, slot in batch.groups:
                    narrow = functional.linear(x[start:end], part.a[slot])
                    to[start:end].addmm_(narrow, part.b[slot])
            else:
                _add_rows(part, x, to, batch.bank.long())


def _add_rows(part: LoraPart, x: torch.Tensor, y: torch.Tensor, bank: torch.Tensor) -> None:
    """y (N, out) += x (N, in) through each row's own factors; bank -1 adds nothing."""
    slots = bank.clamp(min=0)
    wide = (x * (bank >= 0).to(x.dtype)[:, None])[:, None]
    y += torch.bmm(torch.bmm(wide, part.a[slots].mT), part.b[slots])[:, 0]


def _rotated(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Su et al., arXiv 2104.09864, halves apart as transformers has them; x (N, heads, head)."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return x * cosine[:, None] + turned * sine[:, None]
