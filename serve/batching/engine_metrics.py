"""Metrics of an engine replica, by adapter (`line:number`, or `base`)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from align.inference.types import Traffic, Update
from serve.batching.jobs import AdapterRef

#: Bucket bounds, in seconds.
_WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_GAPS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)


class EngineMeter:
    """Metrics of an engine. Updated only by the engine's thread; any thread may read them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.queued = self._times(
            "alignery_queue_seconds",
            "From a request's arrival at its engine to its place in a batch.",
            _WAITS,
        )
        self.first = self._times(
            "alignery_time_to_first_token_seconds",
            "From a request's arrival at its engine to its first token.",
            _WAITS,
        )
        self.gaps = self._times("alignery_inter_token_seconds", "Between tokens of a row.", _GAPS)
        self.read = self._count("alignery_prompt_tokens", "Prompt tokens of finished rows.")
        self.reused = self._count(
            "alignery_cached_prompt_tokens", "Those of them that another row had read."
        )
        self.written = self._count("alignery_completion_tokens", "Tokens that were written.")
        self.hits = self._count(
            "alignery_bank_hits", "Rows whose adapter had its place in the bank."
        )
        self.loads = self._count("alignery_bank_loads", "Adapters put into the bank.")
        self.evictions = self._count("alignery_bank_evictions", "Adapters taken out of it.")
        self._names: dict[str, str] = {}

    def _times(self, name: str, about: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, about, ["adapter"], buckets=buckets, registry=self.registry)

    def _count(self, name: str, about: str) -> Counter:
        return Counter(name, about, ["adapter"], registry=self.registry)

    def row(self, adapter: AdapterRef | None, arrived: float) -> RowClock:
        """A clock for a row that `arrived` then (`time.monotonic()`); None is the base."""
        if adapter is None:
            return RowClock(self, "base", arrived)
        self._names[adapter.adapter_id] = adapter.name
        return RowClock(self, adapter.name, arrived)

    def step(self, traffic: Traffic) -> None:
        """Count the adapters that a step loaded into the bank and evicted from it."""
        for adapter in traffic.loaded:
            self.loads.labels(self._names.get(adapter, adapter)).inc()
        for adapter in traffic.evicted:
            self.evictions.labels(self._names.get(adapter, adapter)).inc()


class RowClock:
    """Times and token counts of a row."""

    def __init__(self, meter: EngineMeter, adapter: str, arrived: float) -> None:
        self._meter = meter
        self._adapter = adapter
        self._arrived = arrived
        self._last = 0.0
        self._tokens = 0

    def admitted(self, hit: bool) -> None:
        """The row was admitted to a batch; `hit`: its adapter was in the bank already."""
        self._meter.queued.labels(self._adapter).observe(time.monotonic() - self._arrived)
        if hit and self._adapter != "base":
            self._meter.hits.labels(self._adapter).inc()

    def update(self, update: Update, now: float) -> None:
        """Record the tokens that a step, which ended at `now`, has added to the row."""
        completion = update.completion
        new = len(completion.token_ids) - self._tokens
        if new > 0:
            if self._tokens:
                self._meter.gaps.labels(self._adapter).observe((now - self._last) / new)
            else:
                self._meter.first.labels(self._adapter).observe(now - self._arrived)
            self._last, self._tokens = now, len(completion.token_ids)

    def over(self, prompt: int, update: Update) -> None:
        """The row has ended; its prompt had `prompt` tokens."""
        self._meter.read.labels(self._adapter).inc(prompt)
        self._meter.reused.labels(self._adapter).inc(update.completion.cached_tokens)
        self._meter.written.labels(self._adapter).inc(self._tokens)
