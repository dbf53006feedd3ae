"""Comparing two registered adapters on the held-out items that both were measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from align.errors import AdapterError
from align.evaluation.comparison import Compared, compare_examples, incomparable
from align.evaluation.examples import EXAMPLES, Example, read_examples
from cluster.registry import AdapterVersion, Registry


@dataclass(frozen=True)
class AdapterComparison:
    """How the first adapter compares with the second; `left_out` maps measures that both have
    but cannot be compared to the reason."""

    first: AdapterVersion
    second: AdapterVersion
    split: str
    measures: list[Compared]
    left_out: dict[str, str]

    def plain(self) -> dict[str, Any]:
        """The comparison as plain JSON data."""
        return {
            "first": self.first.name,
            "second": self.second.name,
            "split": self.split,
            "measures": {
                comparison.measure: {
                    "first": comparison.ours,
                    "second": comparison.theirs,
                    **comparison.gain.plain(),
                    "verdict": comparison.verdict,
                }
                for comparison in self.measures
            },
            "left_out": self.left_out,
        }


def compare_versions(registry: Registry, first: str, second: str) -> AdapterComparison:
    """Compare by rows that were stored when the adapters were measured; nothing is recomputed.

    AdapterNotFound for an unknown name; AdapterError if an adapter has no rows, or the adapters
    have no item or measure in common.
    """
    versions = [registry.resolve(name) for name in (first, second)]
    rows = [_rows(registry, version) for version in versions]
    try:
        comparisons = compare_examples(*rows)
    except AdapterError as error:
        raise AdapterError(f"{versions[0].name} and {versions[1].name}: {error}") from None
    reasons = incomparable(versions[0].manifest, versions[1].manifest)
    left_out = {
        comparison.measure: reasons[comparison.measure]
        for comparison in comparisons
        if comparison.measure in reasons
    }
    split = rows[0][0].split
    measures = [comparison for comparison in comparisons if comparison.measure not in left_out]
    return AdapterComparison(versions[0], versions[1], split, measures, left_out)


def _rows(registry: Registry, version: AdapterVersion) -> list[Example]:
    if version.manifest.imported:
        raise AdapterError(
            f"{version.name}: it was imported, so it has no measurements to compare; only adapters "
            "of sweeps have"
        )
    try:
        rows = read_examples(registry.folder(version))
    except AdapterError as error:
        raise AdapterError(f"{version.name}: {error}") from None
    if not rows:
        raise AdapterError(f"{version.name}: its {EXAMPLES} is empty; search its stage again")
    return rows
