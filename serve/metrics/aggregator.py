"""Aggregation of the metrics that all processes of an endpoint report."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from serve.metrics.snapshots import MetricsSnapshot, added, lasting

#: Seconds without a report after which a process counts as gone.
GONE_SECONDS = 30.0


class Metrics(Protocol):
    """Interface of the endpoint's `MetricsAggregator`, local or behind a Ray Serve handle."""

    async def report(self, process: str, counted: MetricsSnapshot) -> None:
        """Store a process's metrics so far, in place of its previous report."""
        ...

    async def total(self) -> MetricsSnapshot:
        """The metrics of all processes, ended processes included."""
        ...


class MetricsAggregator:
    """`Metrics` in this process. Of a process that is gone, counters stay and gauges are dropped.

    If the process reports again, its new report replaces the old report.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reports: dict[str, tuple[float, MetricsSnapshot]] = {}

    async def report(self, process: str, counted: MetricsSnapshot) -> None:
        """See `Metrics`."""
        self._reports[process] = self._clock(), counted

    async def total(self) -> MetricsSnapshot:
        """See `Metrics`."""
        oldest = self._clock() - GONE_SECONDS
        return added(
            snapshot if reported_at >= oldest else lasting(snapshot)
            for reported_at, snapshot in self._reports.values()
        )
