"""A faster gradient of attention for short rows on a CPU, by products of whole matrices.

torch's own backward pass works in blocks that suit long rows; at some hundred tokens it took a
quarter of an SFT step. Here the forward pass is torch's. The backward pass recomputes the attention
weights, a few heads at a time, and takes the gradient as in arXiv 2205.14135 (appendix B.2), so
only the inputs are saved. Models receive it through transformers' `AttentionInterface`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from align.compat.sdpa import Attention, wrapped_sdpa

#: The most attention weights of a sample, over all heads, for which this backward pass is used.
MOST = 2**20
#: Attention weights computed at a time: 1 MB in fp32, which fits a core's own cache.
_BLOCK = 2**18


@contextmanager
def short_attention() -> Iterator[None]:
    """Make transformers' `sdpa` attention take its gradient by `attention` within the block.

    The name stays, so that masks are made as for `sdpa`.
    """
    with wrapped_sdpa(_with_short_gradient):
        yield


def _with_short_gradient(original: Attention) -> Attention:
    def forward(
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        is_causal: bool | None = None,
        **more: Any,
    ) -> tuple[torch.Tensor, None]:
        groups = getattr(module, "num_key_value_groups", 1)
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        if not _fits(query, key, attention_mask, groups, dropout, more):
            result: tuple[torch.Tensor, None] = original(
                module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
            )
            return result
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
        causal = causal and attention_mask is None
        out = attention(query, key, value, attention_mask, is_causal=causal, scale=scaling)
        return out.transpose(1, 2).contiguous(), None

    return forward


def _fits(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    groups: int,
    dropout: float,
    more: dict[str, Any],
) -> bool:
    """Whether `attention` may compute this call: rows of tokens in training, without extras.

    Without a mask, transformers leaves grouped heads to torch, which does not copy them.
    """
    if dropout or any(more.get(name) is not None for name in ("position_bias", "cache", "softcap")):
        return False
    length = query.shape[-2]
    whole = length > 1 and (mask is not None or length == key.shape[-2])
    return query.requires_grad and whole and (groups == 1 or mask is not None)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Same result as torch's function; query, key and value are (batch, heads, length, width)."""
    if torch.is_autocast_enabled("cpu") and query.is_cpu:  # as it does for torch's own function
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = (tensor.to(dtype) for tensor in (query, key, value))
    supported = not enable_gqa and dropout_p == 0.0 and query.dim() == 4 and query.is_cpu
    needed = torch.is_grad_enabled() and query.requires_grad
    heads, length = query.shape[1], query.shape[-2]
    fits = heads * length * key.shape[-2] <= MOST and key.shape == value.shape
    if supported and needed and fits and not (attn_mask is not None and attn_mask.requires_grad):
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        return _Short.apply(query, key, value, attn_mask, is_causal, scale)  # type: ignore[no-untyped-call, no-any-return]
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


class _Short(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        causal: bool,
        scale: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(query, key, value, mask)
        ctx.causal, ctx.scale = causal, scale
        return functional.scaled_dot_product_attention(
            query, key, value, mask, is_causal=causal, scale=scale
        )

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, mask = ctx.saved_tensors
        batch, heads, length, _ = query.shape
        gradients = tuple(
            torch.empty(tensor.shape, dtype=tensor.dtype) for tensor in (query, key, value)
        )
        hidden = _hidden(mask, ctx.causal, (batch, 1, length, key.shape[-2]))
        at_once = max(1, _BLOCK // (length * key.shape[-2]))
        for sample in range(batch):
            for first in range(0, heads, at_once):
                part = sample, slice(first, first + at_once)
                inputs = [tensor[part] for tensor in (query, key, value, gradient)]
                slopes = _slopes(inputs, hidden[sample], ctx.scale)
                for output, slope in zip(gradients, slopes, strict=True):
                    output[part] = slope
        return *gradients, None, None, None


def _hidden(mask: torch.Tensor | None, causal: bool, shape: tuple[int, ...]) -> torch.Tensor:
    """The mask that is added to the scores in fp32: the lowest finite number hides a position."""
    least = torch.finfo(torch.float32).min
    if mask is None:
        visible = torch.ones(shape[-2:], dtype=torch.bool)
        mask = visible.tril() if causal else visible
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape).masked_fill_(~mask, least)
    return mask.float().clamp_(min=least).expand(shape[0], *mask.shape[-3:])


def _slopes(
    inputs: Sequence[torch.Tensor], hidden: torch.Tensor, scale: float
) -> tuple[torch.Tensor, ...]:
    """The gradients of query, key and value for some heads of a sample.

    `inputs` are query, key, value and the gradient of the output.
    """
    query, key, value, gradient = inputs
    dtype = query.dtype
    weights = (query @ key.mT).float().mul_(scale).add_(hidden).softmax(-1)
    of_weights = (gradient @ value.mT).float()
    of_scores = weights * of_weights
    of_scores = of_scores.sub_(weights * of_scores.sum(-1, keepdim=True)).mul_(scale).to(dtype)
    return of_scores @ key, of_scores.mT @ query, weights.to(dtype).mT @ gradient
