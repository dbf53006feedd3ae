"""Metrics as a process reports them, and as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from serve.metrics.snapshots import MetricsSnapshot, collect


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and values of labels."""
    return {
        (one.name, tuple(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def process(asked: int, now: int) -> MetricsSnapshot:
    """What a process reports that was asked so often and has so much to do now."""
    registry = CollectorRegistry()
    Counter("asked", "Requests.", ["who"], registry=registry).labels("ada").inc(asked)
    Gauge("busy", "Now.", registry=registry).set(now)
    times = Histogram("took", "Seconds.", buckets=(1, 2), registry=registry)
    for _ in range(asked):
        times.observe(1.5)
    return collect(registry)
