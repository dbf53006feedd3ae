"""Operations in torch: for a GPU, for fp16, and for a CPU without a compiler.

All shapes depend only on the batch's size and `longest`, and no value is read back from the device,
so that a decode step can be captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from align.inference.kernels.batch import Batch, LayerCache, LoraPart
from align.inference.kernels.ops import Attention, Heads, StackedLora


class PlainOps:
    """`Ops` that need no compiler."""

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """See `Ops`; rounded before the product with `weight`, as in transformers."""
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
        heads = qkv.view(rows, -1, shape.head)
        queries, keys, values = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
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
    """Write keys and values (N, kv heads, head) to the batch's slots and positions."""
    slots, positions = batch.slots.long(), batch.positions.long()
    cache.keys[slots, :, positions] = keys
    cache.values[slots, :, positions] = values


def attend_rows(
    cache: LayerCache, queries: torch.Tensor, batch: Batch, scale: float, window: int | None
) -> torch.Tensor:
    """Decode: attention of each row's query (N, heads, head) over its slot → (N, heads * head)."""
    rows, head, device = queries.shape[0], queries.shape[2], queries.device
    positions = torch.arange(batch.longest, device=device)
    newest = batch.positions[:, None]
    # Positions beyond a row's newest token repeat that token: the cache there may hold NaN, and
    # 0 times NaN is NaN.
    index = (
        batch.slots.long()[:, None, None],
        torch.arange(cache.keys.shape[1], device=device)[:, None],
        torch.minimum(positions, newest)[:, None],
    )
    keys, values = cache.keys[index], cache.values[index]
    visible = positions <= newest
    if window is not None:
        visible &= positions > newest - window
    # The query heads of a group become several queries of one KV head, so no key is repeated.
    grouped = queries.reshape(rows, keys.shape[1], -1, head)
    out = functional.scaled_dot_product_attention(
        grouped, keys, values, attn_mask=visible[:, None, None], scale=scale
    )
    return out.reshape(rows, -1)


class _PlainLora:
    def __init__(self, parts: Sequence[LoraPart]):
        self._parts = tuple(parts)

    def add(self, x: torch.Tensor, y: torch.Tensor, batch: Batch) -> None:
        for part in self._parts:
            out = y[:, part.offset : part.offset + part.b.shape[2]]
            if batch.spans:
                for start, end, slot in batch.groups:
                    narrow = functional.linear(x[start:end], part.a[slot])
                    out[start:end].addmm_(narrow, part.b[slot])
            else:
                _add_rows(part, x, out, batch.bank.long())


def _add_rows(part: LoraPart, x: torch.Tensor, y: torch.Tensor, bank: torch.Tensor) -> None:
    """y (N, out) += LoRA of x (N, in) with the factors of each row; bank -1 adds nothing."""
    slots = bank.clamp(min=0)
    masked = (x * (bank >= 0).to(x.dtype)[:, None])[:, None]
    y += torch.bmm(torch.bmm(masked, part.a[slots].mT), part.b[slots])[:, 0]


def _rotated(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """RoPE (Su et al., arXiv 2104.09864) in the half-split layout of transformers.

    x (N, heads, head), cosine and sine (N, head).
    """
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return x * cosine[:, None] + turned * sine[:, None]
