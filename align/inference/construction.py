"""Builds an engine's model: sizes of slots and bank from options and memory, then the modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from align.base import Base
from align.inference.families import check_layout, check_logits, is_fused
from align.inference.memory_plan import DecoderSizes, plan_memory
from align.inference.modeling.cuda_graphs import capture_for
from align.inference.modeling.kv_cache import context_of, fit, head_widths
from align.inference.modeling.model import Model
from align.inference.options import KV_BYTES_ON_CPU, EngineOptions, lengthened

#: Bytes that can still be allocated on a device; None if they need not be divided.
FreeMemory = Callable[[torch.device], int | None]


@dataclass(frozen=True)
class EngineSizes:
    """Slots begin with `first_tokens` and have at most `slot_tokens`; ranks go up to `max_rank`."""

    first_tokens: int
    slot_tokens: int
    max_rank: int


def build_model(base: Base, options: EngineOptions, free: FreeMemory) -> tuple[Model, int]:
    """The model with slots and bank on its base's device, and the most tokens of a sequence.

    ModelError if the engine does not reproduce the base's logits, RequestError as `engine_sizes`.
    """
    check_layout(base)
    config, device = base.model.config, next(base.model.parameters()).device
    sizes = engine_sizes(base, options, free)
    model = Model(
        base,
        options.slots,
        sizes.first_tokens,
        options.adapters,
        sizes.max_rank,
        capture_for(config, device) if options.cuda_graphs else None,
    )
    if not is_fused(config):
        check_logits(base, model.probe)
    return model, sizes.slot_tokens


def engine_sizes(base: Base, options: EngineOptions, free_memory: FreeMemory) -> EngineSizes:
    """The sizes of an engine on `base`, before anything is allocated.

    RequestError if the model or the memory of its device does not allow what the options ask for.
    """
    config, weight = base.model.config, next(base.model.parameters())
    kv_bytes, rank = options.kv_bytes or KV_BYTES_ON_CPU, options.max_rank
    free = free_memory(weight.device)
    if free is not None:
        plan = plan_memory(free, decoder_sizes(base), options, context_of(config))
        kv_bytes, rank = plan.kv_bytes, plan.max_rank
    tokens = fit(config, weight.dtype, options.slots, options.slot_tokens, kv_bytes)
    if free is None or options.first_tokens is None:
        return EngineSizes(tokens, tokens, rank)
    return EngineSizes(lengthened(options.first_tokens, tokens), tokens, rank)


def decoder_sizes(base: Base) -> DecoderSizes:
    """The sizes of a loaded base that an engine's memory depends on."""
    model = base.model
    query_width, key_width = head_widths(model.config)
    linears = [
        module for module in model.base_model.layers.modules() if isinstance(module, nn.Linear)
    ]
    return DecoderSizes(
        layers=int(model.config.num_hidden_layers),
        hidden=int(model.config.hidden_size),
        intermediate=max(max(linear.in_features, linear.out_features) for linear in linears),
        query_width=query_width,
        key_width=key_width,
        vocab=int(model.get_output_embeddings().out_features),
        width=next(model.parameters()).dtype.itemsize,
        rank_parameters=sum(linear.in_features + linear.out_features for linear in linears),
    )
