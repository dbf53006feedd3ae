"""Random adapters for checks: of any rank, on all linears of a base, each with a clear effect."""

from __future__ import annotations

import math
import re

import torch
from torch import nn

from align.adapters.tensors import LoraFactors
from align.base import Base

#: The ranks of 16 adapters that share a batch.
MIXED_RANKS = (1, 2, 3, 4, 5, 8, 8, 12, 16, 16, 24, 32, 48, 64, 64, 128)
#: The deltas of all layers together against a layer's weight, as a ratio of standard deviations.
_STRENGTH = 0.85
_LAYER = re.compile(r"\.layers\.\d+\.")


def random_factors(base: Base, rank: int, seed: int, score: bool = False) -> LoraFactors:
    """Factors for all linears of the decoder's layers; with `score` also a reward head.

    The values are the same on every machine.
    """
    generator = torch.Generator().manual_seed(seed)
    modules = {}
    strength = _STRENGTH / math.sqrt(base.model.config.num_hidden_layers)
    for name, linear in base.model.named_modules():
        if not (isinstance(linear, nn.Linear) and _LAYER.search(name)):
            continue
        outputs, inputs = linear.weight.shape
        spread = strength * float(linear.weight.float().std()) * math.sqrt(inputs / rank)
        a = torch.randn(rank, inputs, generator=generator) / math.sqrt(inputs)
        b = torch.randn(outputs, rank, generator=generator) * spread
        modules[name] = (a, b)
    hidden = int(base.model.config.hidden_size)
    head = torch.randn(1, hidden, generator=generator) / math.sqrt(hidden) if score else None
    return LoraFactors(modules, head)


def mixed_adapters(base: Base) -> dict[str, LoraFactors]:
    """An adapter for each of MIXED_RANKS, by id."""
    return {
        f"check-{index}-r{rank}": random_factors(base, rank, seed=index)
        for index, rank in enumerate(MIXED_RANKS)
    }
