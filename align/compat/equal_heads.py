"""Attention with a key head for each query head, for GPUs below compute capability 8.0.

Without a padding mask transformers leaves grouped heads to torch (`enable_gqa`). torch's flash and
cuDNN kernels take them, but need capability 8.0. The memory-efficient kernel, the only other fused
kernel, needs equal numbers of heads. A T4 would fall back to the math kernel, which holds all
attention weights in fp32. So keys and values are repeated first, as transformers does where there
is a mask. Models receive it through transformers' `AttentionInterface`.

Written for torch 2.13 and transformers 5.23. transformers#48633 and #45776 ask for it, and pull
request 191085 of pytorch would make the memory-efficient kernel take grouped heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import torch

from align.compat.sdpa import Attention, wrapped_sdpa

#: The least capability of flash and cuDNN attention.
_GROUPED = (8, 0)


def needs_equal_heads(capability: tuple[int, int] | None) -> bool:
    """Whether no fused kernel of a GPU takes grouped heads; False for a CPU (None)."""
    return capability is not None and capability < _GROUPED


@contextmanager
def equal_heads(needed: bool) -> Iterator[None]:
    """Make transformers' `sdpa` attention repeat keys and values within the block, if `needed`.

    The name stays, so that masks are made as for `sdpa`.
    """
    with wrapped_sdpa(_repeating) if needed else nullcontext():
        yield


def _repeating(original: Attention) -> Attention:
    def forward(
        module: Any,
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
        if groups > 1 and attention_mask is None and more.get("cache") is None:
            key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
            # Of the module transformers reads whether it is causal and how heads are grouped.
            module = SimpleNamespace(is_causal=getattr(module, "is_causal", True))
        result: tuple[torch.Tensor, None] = original(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
        )
        return result

    return forward
