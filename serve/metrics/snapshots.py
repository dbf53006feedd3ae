"""Metrics as plain data that can be sent between processes and summed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Family:
    """A metric. `kind` is its Prometheus type; `samples` are by sample name and labels."""

    name: str
    help: str
    kind: str
    samples: dict[tuple[str, Labels], float]


MetricsSnapshot = tuple[Family, ...]


def watch(registry: CollectorRegistry, name: str, about: str, value: Callable[[], float]) -> None:
    """Register a gauge whose value is computed by `value` at each read."""
    Gauge(name, about, registry=registry).set_function(value)


def collect(registry: CollectorRegistry) -> MetricsSnapshot:
    """All metrics of the registry, without the `_created` times, which cannot be summed."""
    return tuple(
        Family(
            name=metric.name,
            help=metric.documentation,
            kind=metric.type,
            samples={
                (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
                for sample in metric.samples
                if not sample.name.endswith("_created")
            },
        )
        for metric in registry.collect()
    )


def added(reports: Iterable[MetricsSnapshot]) -> MetricsSnapshot:
    """The sums of several processes' reports, sample by sample, gauges included."""
    sums: dict[str, Family] = {}
    for family in (family for report in reports for family in report):
        total = sums.setdefault(family.name, Family(family.name, family.help, family.kind, {}))
        for key, value in family.samples.items():
            total.samples[key] = total.samples.get(key, 0.0) + value
    return tuple(sums.values())


def lasting(report: MetricsSnapshot) -> MetricsSnapshot:
    """The metrics that stay valid after their process has ended: all but gauges."""
    return tuple(family for family in report if family.kind != "gauge")


def page(report: MetricsSnapshot) -> str:
    """The report in Prometheus's text format."""

    class Given(Collector):
        def collect(self) -> Iterator[Metric]:
            for family in report:
                metric = Metric(family.name, family.help, family.kind)
                for (name, labels), value in family.samples.items():
                    metric.add_sample(name, dict(labels), value)
                yield metric

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    return generate_latest(registry).decode()
