"""Where all processes of an endpoint put what they have counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from serve.metrics.snapshots import MetricsSnapshot, added, lasting

#: Seconds without a report after which a process is taken for gone.
GONE_SECONDS = 30.0


class Metrics(Protocol):
    """One `MetricsAggregator`, wherever it lives."""

    async def report(self, process: str, counted: MetricsSnapshot) -> None:
        """Put down all that a process has counted so far, in place of what it said before."""
        ...

    async def total(self) -> MetricsSnapshot:
        """Over all processes, those that have ended among them."""
        ...


class MetricsAggregator:
    """`Metrics` in this process. A process that is gone leaves its counts and takes its gauges.

    Should it only have been silent, its next report counts in place of what it left.
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
            counted if at >= oldest else lasting(counted) for at, counted in self._reports.values()
        )
