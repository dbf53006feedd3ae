"""Metrics as plain data, so that they travel between processes and can be added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Family:
    """One metric: its kind is Prometheus's word, its samples are by name and labels."""

    name: str
    help: str
    kind: str
    samples: dict[tuple[str, Labels], float]


MetricsSnapshot = tuple[Family, ...]


def watch(registry: CollectorRegistry, name: str, about: str, value: Callable[[], float]) -> None:
    """A gauge that is read when somebody looks."""
    Gauge(name, about, registry=registry).set_function(value)


def collect(registry: CollectorRegistry) -> MetricsSnapshot:
    """Everything in the registry; when a series began is left out, since sums have no such time."""
    return tuple(
        Family(
            name=one.name,
            help=one.documentation,
            kind=one.type,
            samples={
                (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
                for sample in one.samples
                if not sample.name.endswith("_created")
            },
        )
        for one in registry.collect()
    )


def added(reports: Iterable[MetricsSnapshot]) -> MetricsSnapshot:
    """The sum of several processes' reports, sample by sample; of gauges, too."""
    result: dict[str, Family] = {}
    for family in (one for report in reports for one in report):
        known = result.setdefault(family.name, Family(family.name, family.help, family.kind, {}))
        for key, value in family.samples.items():
            known.samples[key] = known.samples.get(key, 0.0) + value
    return tuple(result.values())


def lasting(report: MetricsSnapshot) -> MetricsSnapshot:
    """What stays true of a process that has ended: what it counted, not how it was."""
    return tuple(one for one in report if one.kind != "gauge")


def page(report: MetricsSnapshot) -> str:
    """Prometheus's text format."""

    class Given(Collector):
        def collect(self) -> Iterator[Metric]:
            for one in report:
                metric = Metric(one.name, one.help, one.kind)
                for (name, labels), value in one.samples.items():
                    metric.add_sample(name, dict(labels), value)
                yield metric

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    return generate_latest(registry).decode()
