"""Installs a bank and KV slots in transformers' module tree.

Fused layers compute queries, keys and values in one matrix product, and gate and up in another.
They support the families with Llama's decoder (Mistral, Qwen2 and Qwen3 only add biases or norms).
Models of other families keep their own modules: their linears are replaced individually, and they
access the KV slots through the attention function that is registered here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from align.inference.families import is_fused
from align.inference.kernels import LayerCache
from align.inference.kernels.plain import attend_rows, store
from align.inference.modeling.attention import FusedAttention, FusedMLP, FusedNorm
from align.inference.modeling.bank import Bank
from align.inference.modeling.kv_cache import KVCache
from align.inference.modeling.prompt_attention import read

_NAME = "alignery_slots"


def equip(model: Any, bank: Bank, cache: KVCache) -> None:
    """Replace the modules with linear layers in the decoder of a causal language model in place."""
    body, config = model.base_model, model.config
    prefix = next(name for name, module in model.named_modules() if module is body)
    fused = is_fused(config)
    for index, layer in enumerate(body.layers):
        name = f"{prefix}.layers.{index}"
        if fused:
            window = _window(config, index)
            layer.self_attn = FusedAttention(
                layer.self_attn, f"{name}.self_attn", window, bank, cache.layers[index]
            )
            layer.mlp = FusedMLP(layer.mlp, f"{name}.mlp", bank)
            layer.input_layernorm = FusedNorm(layer.input_layernorm, bank)
            layer.post_attention_layernorm = FusedNorm(layer.post_attention_layernorm, bank)
        else:
            _replace_linears(layer, name, bank)
            layer.self_attn.slots = _Slots(bank, cache.layers[index])
    if fused:
        body.norm = FusedNorm(body.norm, bank)
    model.set_attn_implementation(_NAME)


def _window(config: Any, layer: int) -> int | None:
    """Number of keys that a layer attends to; None for all.

    Mistral has the same window for all layers, Qwen has a layer type for each layer.
    """
    kinds = getattr(config, "layer_types", None)
    sliding = kinds is None or kinds[layer] == "sliding_attention"
    return getattr(config, "sliding_window", None) if sliding else None


def _replace_linears(module: nn.Module, name: str, bank: Bank) -> None:
    for attribute, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, attribute, bank.linear({f"{name}.{attribute}": child}))
        else:
            _replace_linears(child, f"{name}.{attribute}", bank)


class _Slots:
    """The attribute of an attention module through which `_attention` accesses bank and cache."""

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
