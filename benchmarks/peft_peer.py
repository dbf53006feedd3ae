"""PEFT's two ways to serve several adapters: names for each row, and switching."""

from __future__ import annotations

import time
from typing import Any

from peft import PeftModel

from align.base import Base
from benchmarks.adapters import AdapterPool
from benchmarks.cases import Case, EngineName
from benchmarks.contender import Outcome
from benchmarks.transformers_peer import greedy, without_end
from benchmarks.workload import Workload


class PeftModels:
    """One PeftModel for each set of ranks, in the base's dtype, with the adapters asked for."""

    def __init__(self, base: Base, pool: AdapterPool):
        self._base, self._pool = base, pool
        self._models: dict[tuple[int, ...], Any] = {}

    def load(self, case: Case) -> None:
        """Load the adapters of the case that are not there yet."""
        for name in case.adapter_names:
            folder, model = self._pool.folder(name), self._models.get(case.ranks)
            if model is None:
                shell = without_end(self._base.shell())
                made = PeftModel.from_pretrained(shell, folder, name, autocast_adapter_dtype=False)
                # PEFT makes the layers in the dtype of the files: what it computes in is ours.
                self._models[case.ranks] = made.to(self._base.model.dtype).eval()
            elif name not in model.peft_config:
                model.load_adapter(folder, name, autocast_adapter_dtype=False)
                model.to(self._base.model.dtype)

    def of(self, case: Case) -> Any:
        """The model that has the case's adapters."""
        return self._models[case.ranks]

    def clear(self) -> None:
        """Let go of the weights."""
        self._models.clear()


class NamesPeer:
    """`generate(adapter_names=…)`: rows of all adapters in one batch."""

    name: EngineName = "peft"

    def __init__(self, models: PeftModels):
        self._models = models

    def prepare(self, case: Case) -> None:
        """Load the case's adapters."""
        self._models.load(case)

    def run(self, case: Case, workload: Workload) -> Outcome:
        """One `generate` over all requests."""
        start = time.perf_counter()
        written = greedy(
            self._models.of(case),
            workload.prompts,
            workload.tokens,
            adapter_names=list(workload.adapters),
        )
        return Outcome(time.perf_counter() - start, written)

    def close(self) -> None:
        """Let go of the weights."""
        self._models.clear()


class SwitchingPeer:
    """`set_adapter`, and one batch for the requests of each adapter after the other."""

    name: EngineName = "peft_switching"

    def __init__(self, models: PeftModels):
        self._models = models

    def prepare(self, case: Case) -> None:
        """Load the case's adapters."""
        self._models.load(case)

    def run(self, case: Case, workload: Workload) -> Outcome:
        """A `generate` for each adapter."""
        model = self._models.of(case)
        written: list[list[int]] = [[] for _ in workload.prompts]
        start = time.perf_counter()
        for name in dict.fromkeys(workload.adapters):
            places = [at for at, one in enumerate(workload.adapters) if one == name]
            model.set_adapter(name, inference_mode=True)
            part = greedy(model, [workload.prompts[at] for at in places], workload.tokens)
            for at, row in zip(places, part, strict=True):
                written[at] = row
        return Outcome(time.perf_counter() - start, written)

    def close(self) -> None:
        """Let go of the weights."""
        self._models.clear()
