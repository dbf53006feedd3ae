"""Operations in torch: for a GPU, for fp16, and for a CPU without a compiler.

All shapes of a decode step depend only on the batch's size, `longest` and the bank's capacity, and
no value is read back from the device, so that the step can be captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from align.inference.kernels.batch import Batch, LayerCache
from align.inference.kernels.columns import Columns
from align.inference.kernels.dense_lora import DenseLora
from align.inference.kernels.ops import Attention, Heads, StackedLora

#: Of keys on a GPU: the memory-efficient kernel copies a mask of any other length in each layer.
KEYS_MULTIPLE = 16


class PlainOps:
    """`Ops` that need no compiler."""

    def __init__(self, few_launches: bool = False):
        self.few_launches = few_launches

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """See `Ops`; computed in fp32 and rounded once, transformers rounds before `weight` too."""
        # Of two dtypes, where layers are held in fp32, torch's function would not be fused.
        return functional.rms_norm(x, weight.shape, weight.to(x.dtype), eps)

    def silu_mul(self, x: torch.Tensor) -> torch.Tensor:
        """See `Ops`."""
        gate, up = x.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)

    def attention(self, heads: Heads, cache: LayerCache) -> Attention:
        """See `Ops`."""
        return _PlainAttention(heads, cache)

    def lora(self, columns: Columns, weight: torch.Tensor, widths: Sequence[int]) -> StackedLora:
        """See `Ops`."""
        return DenseLora(columns, weight, widths)


class _PlainAttention:
    def __init__(self, heads: Heads, cache: LayerCache):
        self._heads, self._cache = heads, cache
        self._norms: torch.Tensor | None = None
        if heads.query_norm is not None and heads.key_norm is not None:
            norms = [heads.query_norm.expand(heads.heads, -1)]
            norms.append(heads.key_norm.expand(heads.kv_heads, -1))
            self._norms = torch.cat(norms)

    def rotate_and_store(
        self, qkv: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        shape, rows = self._heads, qkv.shape[0]
        heads = qkv.view(rows, -1, shape.head)
        turned, values = heads.split([shape.heads + shape.kv_heads, shape.kv_heads], dim=1)
        if self._norms is not None:
            turned = functional.rms_norm(turned, (shape.head,), eps=shape.eps) * self._norms
        turned = _rotated(turned, cosine, sine)
        store(self._cache, turned[:, shape.heads :], values, batch)
        return turned.view(rows, -1)

    def attend(self, qkv: torch.Tensor, batch: Batch) -> torch.Tensor:
        shape = self._heads
        queries = qkv[:, : shape.heads * shape.head].view(qkv.shape[0], -1, shape.head)
        return attend_rows(self._cache, queries, batch, shape.scale, shape.window)


def store(cache: LayerCache, keys: torch.Tensor, values: torch.Tensor, batch: Batch) -> None:
    """Write keys and values (N, kv heads, head) to the batch's slots and positions."""
    cache.keys[batch.slot_index, :, batch.position_index] = keys
    cache.values[batch.slot_index, :, batch.position_index] = values


def attend_rows(
    cache: LayerCache, queries: torch.Tensor, batch: Batch, scale: float, window: int | None
) -> torch.Tensor:
    """Decode: attention of each row's query (N, heads, head) over its slot → (N, heads * head)."""
    rows, head, kv_heads = queries.shape[0], queries.shape[2], cache.keys.shape[1]
    index = batch.once(("keys", kv_heads), lambda: _key_index(batch, kv_heads))
    bias = batch.once(("bias", window), lambda: _bias(batch, window, queries.dtype))
    # The query heads of a group become several queries of one KV head, so no key is repeated.
    grouped = queries.reshape(rows, kv_heads, -1, head)
    out = functional.scaled_dot_product_attention(
        grouped, cache.keys[index], cache.values[index], attn_mask=bias, scale=scale
    )
    return out.reshape(rows, -1)


def _positions(batch: Batch) -> torch.Tensor:
    """Positions (keys,) that a decode step attends over."""
    multiple = KEYS_MULTIPLE if batch.few_launches else 1
    count = -(-batch.longest // multiple) * multiple
    return batch.once("key positions", lambda: torch.arange(count, device=batch.slots.device))


def _key_index(batch: Batch, kv_heads: int) -> tuple[torch.Tensor, ...]:
    """Index of each row's keys in a cache, → (N, kv heads, keys, head).

    Positions beyond a row's newest token repeat that token: the cache there may hold NaN, and 0
    times NaN is NaN.
    """
    return (
        batch.slot_index[:, None, None],
        torch.arange(kv_heads, device=batch.slots.device)[:, None],
        torch.minimum(_positions(batch), batch.position_index[:, None])[:, None],
    )


def _bias(batch: Batch, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    """What is added to scores (N, 1, 1, keys): 0 where a row sees a key, else minus infinity."""
    positions, newest = _positions(batch), batch.position_index[:, None]
    hidden = positions > newest
    if window is not None:
        hidden |= positions <= newest - window
    return additive(hidden, dtype)[:, None, None]


def additive(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask of what is hidden as a bias: attention would convert it in each layer."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(
        hidden, float("-inf")
    )


def _rotated(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """RoPE (Su et al., arXiv 2104.09864) in the half-split layout of transformers.

    x (N, heads, head), cosine and sine (N, head).
    """
    half = x.shape[-1] // 2
    first, second = x.split(half, dim=-1)
    turned = x * cosine[:, None]
    turned[..., :half].addcmul_(second, sine[:, None, :half], value=-1)
    turned[..., half:].addcmul_(first, sine[:, None, half:])
    return turned
