"""transformers' `generate`: on the base, on one merged adapter, and what PEFT's peers share."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any

import torch

from align.base import Base
from benchmarks.adapters import AdapterPool
from benchmarks.cases import Case, EngineName
from benchmarks.contender import Outcome
from benchmarks.workload import Workload


class MergedPeer:
    """The bare base, or one adapter merged into it: what a fleet of merged models would reach."""

    name: EngineName = "merged"

    def __init__(self, base: Base, pool: AdapterPool):
        self._base, self._pool = base, pool
        self._models: dict[str | None, Any] = {}

    def prepare(self, case: Case) -> None:
        """Merge the case's adapter."""
        for name in case.adapter_names or (None,):
            if name not in self._models:
                model = self._base.shell() if name is None else self._merged(name)
                self._models[name] = without_end(model)

    def _merged(self, name: str) -> Any:
        """In fp32, then rounded once: merging in half precision would lose part of the adapter."""
        model: Any = copy.deepcopy(self._base.model).float()
        for module, (a, b) in self._pool.factors(name).modules.items():
            weight = model.get_submodule(module).weight
            weight.data += (b @ a).to(weight.device)
        return model.to(self._base.model.dtype)

    def run(self, case: Case, workload: Workload) -> Outcome:
        """One `generate` over all requests."""
        start = time.perf_counter()
        written = greedy(self._models[workload.adapters[0]], workload.prompts, workload.tokens)
        return Outcome(time.perf_counter() - start, written)

    def close(self) -> None:
        """Let go of the merged weights."""
        self._models.clear()


def without_end(model: Any) -> Any:
    """The model with no end of turn, so that `generate` writes as many tokens as asked for."""
    model.generation_config.eos_token_id = None
    return model.eval()


@torch.inference_mode()
def greedy(
    model: Any, prompts: Sequence[Sequence[int]], tokens: int, **options: Any
) -> list[list[int]]:
    """`generate` on left-padded prompts: the new tokens of each."""
    width = max(len(prompt) for prompt in prompts)
    ids = [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    written = model.generate(
        input_ids=torch.tensor(ids, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=tokens,
        do_sample=False,
        **options,
    )
    rows: list[list[int]] = written[:, width:].tolist()
    return rows
