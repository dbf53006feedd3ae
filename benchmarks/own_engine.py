"""Alignery's engine as a contender."""

from __future__ import annotations

import time

from align.base import Base
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.inference.types import GenerationRequest
from benchmarks.adapters import AdapterPool
from benchmarks.cases import Case, EngineName
from benchmarks.contender import Outcome
from benchmarks.workload import Workload

#: Keys and values of each engine: on a GPU the first would take what is free.
_KV_BYTES = 4 * 2**30


class OwnEngine:
    """One `BankEngine` for each number of bank slots; all else as it is by default."""

    name: EngineName = "alignery"

    def __init__(self, base: Base, pool: AdapterPool):
        self._base, self._pool = base, pool
        self._engines: dict[int, BankEngine] = {}

    def prepare(self, case: Case) -> None:
        """Make the adapters known to the case's engine."""
        if case.bank_slots not in self._engines:
            options = EngineOptions(adapters=case.bank_slots, kv_bytes=_KV_BYTES, reuse=False)
            self._engines[case.bank_slots] = BankEngine(self._base, options)
            self._engines[case.bank_slots].capture_graphs()
        engine = self._engines[case.bank_slots]
        for name in case.adapter_names:
            engine.load(name, self._pool.folder(name))

    def run(self, case: Case, workload: Workload) -> Outcome:
        """All requests in one call, as the peers get them; step by step where waits matter.

        Sampled requests are a rollout's: their adapter's new weights are handed over first, as
        after every training step, and that is timed too.
        """
        engine = self._engines[case.bank_slots]
        requests = [
            _request(prompt, adapter, workload)
            for prompt, adapter in zip(workload.prompts, workload.adapters, strict=True)
        ]
        names = set(case.adapter_names) if workload.temperature else set()
        fresh = {name: self._pool.factors(name) for name in names}
        start = time.perf_counter()
        for name, factors in fresh.items():
            engine.unload(name)
            engine.load(name, factors)
        if case.zipf:
            return _stepped(engine, requests, start)
        written = [one.token_ids for one in engine.generate(requests)]
        return Outcome(time.perf_counter() - start, written)

    def close(self) -> None:
        """Let go of the engines."""
        self._engines.clear()


def _stepped(engine: BankEngine, requests: list[GenerationRequest], start: float) -> Outcome:
    """Submit everything, then step to the end and note when each sequence begins."""
    order = [sequence for request in requests for sequence in engine.submit(request)]
    waits: dict[int, float] = {}
    written: dict[int, list[int]] = {}
    while engine.busy:
        for update in engine.step():
            waits.setdefault(update.sequence, time.perf_counter() - start)
            if update.done:
                written[update.sequence] = update.completion.token_ids
    seconds = time.perf_counter() - start
    return Outcome(seconds, [written[one] for one in order], [waits[one] for one in order])


def _request(prompt: tuple[int, ...], adapter: str | None, workload: Workload) -> GenerationRequest:
    """Greedy: the end of turn is a token as any other. Sampled, as TRL forces it: never drawn."""
    sampled = workload.temperature > 0
    return GenerationRequest(
        prompt,
        adapter,
        max_new_tokens=workload.tokens,
        n=workload.completions,
        temperature=workload.temperature,
        seed=workload.seed if sampled else None,
        min_new_tokens=workload.tokens if sampled else 0,
        ignore_eos=not sampled,
    )
