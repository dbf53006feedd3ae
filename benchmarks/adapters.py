"""Random adapters that each have their own clear effect, written as PEFT folders."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from align.adapters.tensors import LoraFactors, write_factors
from align.base import Base

#: An adapter's delta against its weight (ratio of standard deviations) in the first and the last
#: layer of a 30-layer model. Weak at first, because every layer after amplifies the rounding of
#: half precision; strong at last, so that another adapter's answer is never taken for its own.
FIRST, LAST = 0.1, 0.6
_LAYER = re.compile(r"\.layers\.(\d+)\.")


class AdapterPool:
    """Adapters by name (`r<rank>-<number>`), made when first asked for and kept in `folder`."""

    def __init__(self, base: Base, folder: Path):
        self._base, self._root = base, folder
        self._linears = list(decoder_linears(base.model))
        self._layers = 1 + max(layer for _, _, layer in self._linears)

    def folder(self, name: str) -> Path:
        """The adapter's PEFT folder."""
        folder = self._root / name
        if not folder.is_dir():
            write_factors(folder, self.factors(name), self._base.ref)
        return folder

    def factors(self, name: str) -> LoraFactors:
        """The adapter's factors, of values that bf16 holds exactly, so all engines get the same."""
        rank, number = map(int, name.removeprefix("r").split("-"))
        generator = torch.Generator().manual_seed(1000 * rank + number)
        modules = {}
        for module, linear, layer in self._linears:
            outputs, inputs = linear.weight.shape
            spread = self._strength(layer) * float(linear.weight.float().std())
            a = torch.randn(rank, inputs, generator=generator) / math.sqrt(inputs)
            b = torch.randn(outputs, rank, generator=generator) * spread * math.sqrt(inputs / rank)
            modules[module] = (a.bfloat16().float(), b.bfloat16().float())
        return LoraFactors(modules)

    def _strength(self, layer: int) -> float:
        # Squares add up over layers: fewer layers need more each for the same effect.
        depth = math.sqrt(30 / self._layers)
        return depth * (FIRST + (LAST - FIRST) * (layer / max(1, self._layers - 1)) ** 2)


def decoder_linears(model: Any) -> Iterator[tuple[str, nn.Linear, int]]:
    """(name, module, number of its layer) of the decoder's linear layers, without the head."""
    for name, module in model.named_modules():
        found = _LAYER.search(name)
        if found and isinstance(module, nn.Linear):
            yield name, module, int(found.group(1))
