"""Causal attention of prompts over their KV slots, several at a time where that is faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional

from align.inference.kernels import Batch, LayerCache
from align.inference.kernels.plain import KEYS_MULTIPLE, additive
from align.inference.transfers import send

#: First token, end, slot, first position.
Span = tuple[int, int, int, int]

#: A group of spans computes at most this many times the products that its spans need,
_PADDING = 2
#: except for small groups, queries times keys, which take no longer than to launch.
_SMALL = 2**14
#: Queries times keys of a group, padding included. They bound its mask, which has that many entries
#: for each KV head, and a span that long keeps a GPU busy alone.
_LARGEST = 2**21


def read(
    cache: LayerCache, queries: torch.Tensor, batch: Batch, scale: float, window: int | None
) -> torch.Tensor:
    """Prefill: queries (N, heads, head) over the keys and values in the slot of each span.

    Returns (N, heads * head). Spans of similar size are attended together where `few_launches`.
    """
    out = torch.empty_like(queries, memory_format=torch.contiguous_format)
    for group in batch.once("span groups", lambda: _groups(batch)):
        if len(group) == 1:
            _attend_span(cache, queries, out, batch, group[0], scale, window)
        else:
            _attend_group(cache, queries, out, batch, group, scale, window)
    return out.view(out.shape[0], -1)


def _groups(batch: Batch) -> list[tuple[Span, ...]]:
    return group_spans(batch.spans) if batch.few_launches else [(span,) for span in batch.spans]


def group_spans(spans: Sequence[Span]) -> list[tuple[Span, ...]]:
    """Spans of similar size together, the largest first.

    A span's size is its queries times its keys. A group pads all spans to its most queries and its
    most keys.
    """
    groups: list[list[Span]] = []
    queries = keys = needed = 0
    for span in sorted(spans, key=lambda span: -_new(span) * _until(span)):
        most_queries, most_keys = max(queries, _new(span)), max(keys, _until(span))
        total = needed + _new(span) * _until(span)
        padded = (len(groups[-1]) + 1) * most_queries * most_keys if groups else 0
        if groups and padded <= min(max(_PADDING * total, _SMALL), _LARGEST):
            groups[-1].append(span)
            queries, keys, needed = most_queries, most_keys, total
        else:
            groups.append([span])
            queries, keys = _new(span), _until(span)
            needed = queries * keys
    return [tuple(group) for group in groups]


def _new(span: Span) -> int:
    return span[1] - span[0]


def _until(span: Span) -> int:
    return span[3] + span[1] - span[0]


def _attend_span(
    cache: LayerCache,
    queries: torch.Tensor,
    out: torch.Tensor,
    batch: Batch,
    span: Span,
    scale: float,
    window: int | None,
) -> None:
    """Attention of the queries of a span, written to `out` (N, heads, head)."""
    first, end, slot, _ = span
    keys, values = cache.keys[slot, :, : _until(span)], cache.values[slot, :, : _until(span)]
    heads, kv_heads = queries.shape[1], keys.shape[0]
    mask = batch.once(("span", span, window), lambda: _visible(span, window, keys.device))
    attended = functional.scaled_dot_product_attention(
        queries[first:end].transpose(0, 1).unflatten(0, (kv_heads, heads // kv_heads)),
        keys[:, None].expand(-1, heads // kv_heads, -1, -1),
        values[:, None].expand(-1, heads // kv_heads, -1, -1),
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
    )
    out[first:end] = attended.flatten(0, 1).transpose(0, 1)


def _visible(span: Span, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Which keys each query of a span sees, (queries, keys); None if those up to its own place."""
    start, length = span[3], _until(span)
    if not start and (window is None or length <= window):
        return None
    positions = torch.arange(length, device=device)
    own = torch.arange(start, length, device=device)[:, None]
    mask = positions <= own
    return mask if window is None else mask & (positions > own - window)


@dataclass(frozen=True)
class _Padded:
    """A group of G spans, padded to Q queries and K keys each.

    `tokens` (G, Q) are the queries' places in the batch, `positions` (G, Q) their positions;
    padding repeats the last query of a span. `slots` is (G,), `newest` (G,) the last position.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    newest: torch.Tensor
    keys: torch.Tensor

    @classmethod
    def of(cls, group: tuple[Span, ...], device: torch.device) -> _Padded:
        first, end, slots, start = send(torch.tensor(group), device).unbind(1)
        most_queries, most_keys = max(map(_new, group)), max(map(_until, group))
        places = torch.arange(most_queries, device=device)
        places = torch.minimum(places, (end - first - 1)[:, None])
        keys = torch.arange(-(-most_keys // KEYS_MULTIPLE) * KEYS_MULTIPLE, device=device)
        return cls(
            first[:, None] + places,
            start[:, None] + places,
            slots,
            start + end - first - 1,
            keys,
        )

    def query_index(self, kv_heads: int, heads: int) -> tuple[torch.Tensor, ...]:
        """Index of the queries in (N, kv heads, group, head), → (G, kv heads, group, Q, head)."""
        device = self.slots.device
        return (
            self.tokens[:, None, None],
            torch.arange(kv_heads, device=device)[:, None, None],
            torch.arange(heads // kv_heads, device=device)[:, None],
        )

    def key_index(self, kv_heads: int) -> tuple[torch.Tensor, ...]:
        """Index of the keys in a cache, → (G, kv heads, K, head).

        Positions beyond a span's end repeat its newest key: the cache there may hold NaN.
        """
        return (
            self.slots[:, None, None],
            torch.arange(kv_heads, device=self.slots.device)[:, None],
            torch.minimum(self.keys, self.newest[:, None])[:, None],
        )

    def bias(self, window: int | None, kv_heads: int, dtype: torch.dtype) -> torch.Tensor:
        """What is added to scores, (G * kv heads, 1, Q, K)."""
        own = self.positions[..., None]
        hidden = self.keys > own
        if window is not None:
            hidden |= self.keys <= own - window
        return additive(hidden, dtype).repeat_interleave(kv_heads, 0)[:, None]


def _attend_group(
    cache: LayerCache,
    queries: torch.Tensor,
    out: torch.Tensor,
    batch: Batch,
    group: tuple[Span, ...],
    scale: float,
    window: int | None,
) -> None:
    """Attention of the queries of several spans at once, written to `out` (N, heads, head).

    KV heads are rows of the attention's batch and their query heads its heads, so that no key is
    repeated.
    """
    heads, kv_heads = queries.shape[1], cache.keys.shape[1]
    padded = batch.once(("padded", group), partial(_Padded.of, group, queries.device))
    places = batch.once(("queries", group, kv_heads), partial(padded.query_index, kv_heads, heads))
    index = batch.once(("keys", group, kv_heads), partial(padded.key_index, kv_heads))
    bias = batch.once(
        ("bias", group, window), partial(padded.bias, window, kv_heads, queries.dtype)
    )
    shape = (kv_heads, heads // kv_heads)
    attended = functional.scaled_dot_product_attention(
        queries.unflatten(1, shape)[places].flatten(0, 1),
        cache.keys[index].flatten(0, 1)[:, None].expand(-1, shape[1], -1, -1),
        cache.values[index].flatten(0, 1)[:, None].expand(-1, shape[1], -1, -1),
        attn_mask=bias,
        scale=scale,
    )
    out.unflatten(1, shape)[places] = attended.unflatten(0, (len(group), kv_heads))
