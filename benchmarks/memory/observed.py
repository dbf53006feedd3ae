"""What a trainer puts through the model, seen from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from align.compat import trl_logits
from align.compat.attributes import replaced
from align.compat.lm_head import LogProbabilities


@dataclass
class Batches:
    """The largest of each over micro-batches that a gradient is taken of."""

    sequences: int = 0
    length: int = 0
    scored: int = 0


@contextmanager
def observed() -> Iterator[Batches]:
    """Watch all micro-batches inside."""
    seen = Batches()

    class Watched:
        @staticmethod
        def apply(hidden: torch.Tensor, *rest: Any) -> Any:
            if torch.is_grad_enabled():
                seen.scored = max(seen.scored, hidden.shape[0])
            return LogProbabilities.apply(hidden, *rest)

    def look(module: nn.Module, inputs: Any) -> None:
        if isinstance(module, nn.Embedding) and torch.is_grad_enabled():
            sequences, length = inputs[0].shape
            if sequences * length > seen.sequences * seen.length:
                seen.sequences, seen.length = sequences, length

    hook = register_module_forward_pre_hook(look)
    try:
        with replaced(trl_logits, "LogProbabilities", Watched):
            yield seen
    finally:
        hook.remove()
