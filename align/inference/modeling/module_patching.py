"""Putting a bank and slots into transformers' module tree.

A fused layer is a weight transform: queries, keys and values come from one product, gate and up
from another. It holds for every family whose decoder is Llama's (Mistral, Qwen2, Qwen3: a bias or
a norm more). Any other family keeps its own modules, its linears replaced one by one, and reaches
the slots through the attention function registered here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from align.inference.families import is_fused
from align.inference.kernels import LayerCache
from align.inference.kernels.plain import attend_rows, store
from align.inference.modeling.attention import FusedAttention, FusedMLP, FusedNorm, read
from align.inference.modeling.bank import Bank
from align.inference.modeling.kv_cache import KVCache

_NAME = "alignery_slots"


def equip(model: Any, bank: Bank, cache: KVCache) -> None:
    """Replace, in place, what has a linear layer in the decoder of a causal language model."""
    body, config = model.base_model, model.config
    prefix = next(name for name, one in model.named_modules() if one is body)
    fused = is_fused(config)
    for at, layer in enumerate(body.layers):
        name = f"{prefix}.layers.{at}"
        if fused:
            window = _window(config, at)
            layer.self_attn = FusedAttention(
                layer.self_attn, f"{name}.self_attn", window, bank, cache.layers[at]
            )
            layer.mlp = FusedMLP(layer.mlp, f"{name}.mlp", bank)
            layer.input_layernorm = FusedNorm(layer.input_layernorm, bank)
            layer.post_attention_layernorm = FusedNorm(layer.post_attention_layernorm, bank)
        else:
            _replace_linears(layer, name, bank)
            layer.self_attn.slots = _Slots(bank, cache.layers[at])
    if fused:
        body.norm = FusedNorm(body.norm, bank)
    config._attn_implementation = _NAME


def _window(config: Any, layer: int) -> int | None:
    """Keys that a layer sees; None for all. Mistral has one window, Qwen a kind for each layer."""
    kinds = getattr(config, "layer_types", None)
    sliding = kinds is None or kinds[layer] == "sliding_attention"
    return getattr(config, "sliding_window", None) if sliding else None


def _replace_linears(module: nn.Module, name: str, bank: Bank) -> None:
    for child, one in list(module.named_children()):
        if isinstance(one, nn.Linear):
            setattr(module, child, bank.linear({f"{name}.{child}": one}))
        else:
            _replace_linears(one, f"{name}.{child}", bank)


class _Slots:
    """What the attention function finds on a module."""

    def __init__(self, bank: Bank, cache: LayerCache):
        self.bank, self.cache = bank, cache


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention function: query (1, heads, N, head) → (1, N, heads * head)."""
    cache, batch = module.slots.cache, module.slots.bank.batch
    queries = query[0].transpose(0, 1)
    scale = scaling or query.shape[-1] ** -0.5
    store(cache, key[0].transpose(0, 1), value[0].transpose(0, 1), batch)
    attend = read if batch.spans else attend_rows
    return attend(cache, queries, batch, scale, sliding_window)[None], None


AttentionInterface.register(_NAME, _attention)
