"""Regular reports of a process's metrics, sent from a background thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from cluster.threads import background
from serve.metrics.snapshots import MetricsSnapshot, collect

_log = logging.getLogger("ray.serve")

PERIOD_SECONDS = 2.0


def report_regularly(
    process: str, registry: CollectorRegistry, send: Callable[[str, MetricsSnapshot], object]
) -> None:
    """Send this process's metrics every two seconds, for as long as the process lives."""

    def go() -> None:
        while True:
            time.sleep(PERIOD_SECONDS)
            try:
                send(process, collect(registry))
            except Exception as error:  # the next report includes these metrics
                _log.warning("metrics could not be reported: %s", error)

    background("metrics", go)
