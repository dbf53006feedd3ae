"""Measurements of a checkpoint, stored in its `measured.json` so that any worker can publish it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from align.atomic_write import write_atomically
from align.evaluation.comparison import compare_examples
from align.evaluation.examples import examples
from align.evaluation.metrics import Evaluation
from align.evaluation.statistics import bound_or_none
from align.rewards import RewardFailure

MEASURED = "measured.json"

#: Maximum number of reward failures stored with their text; all are counted.
KEPT = 20


@dataclass
class EvalResult:
    """A trial's held-out evaluation, and its parent's and the base's on the same items.

    `against_parent` and `against_base` hold the paired differences. `failed` counts answers for
    which a reward gave no number, in training and evaluation, up to this checkpoint.
    """

    evaluation: Evaluation
    parent_metrics: dict[str, float] = field(default_factory=dict)
    base_metrics: dict[str, float] = field(default_factory=dict)
    against_parent: dict[str, dict[str, float | None]] = field(default_factory=dict)
    against_base: dict[str, dict[str, float | None]] = field(default_factory=dict)
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)

    def put_beside(self, parent: Evaluation | None, base: Evaluation) -> None:
        """Add metrics of, and differences to, the parent (None if it is the base) and the base."""
        parent = base if parent is None else parent
        self.parent_metrics, self.base_metrics = parent.metrics(), base.metrics()
        self.against_parent = differences(self.evaluation, parent)
        self.against_base = differences(self.evaluation, base)

    def add_failures(self, count: int, failures: Sequence[RewardFailure]) -> None:
        """Count answers for which a reward failed, and store the first with their texts."""
        self.failed += count
        self.failures = [*self.failures, *map(asdict, failures)][:KEPT]


def differences(ours: Evaluation, theirs: Evaluation) -> dict[str, dict[str, float | None]]:
    """The paired differences by measure, each as the manifest's `PairedDifference`."""
    # A reward model's margins are scores, any other system's log-probabilities.
    other_units = {"margin"} if ours.chosen_scores and not theirs.chosen_scores else set()
    return {
        compared.measure: {
            "difference": compared.gain.difference,
            "low": bound_or_none(compared.gain.low),
            "high": bound_or_none(compared.gain.high),
            "items": compared.gain.count,
        }
        for compared in compare_examples(examples(ours), examples(theirs))
        if compared.measure not in other_units
    }


def write_measured(checkpoint: Path, measured: EvalResult) -> None:
    """Write the checkpoint's `measured.json`, whole or not at all."""
    write_atomically(checkpoint / MEASURED, json.dumps(asdict(measured)))


def read_measured(checkpoint: Path | None) -> EvalResult | None:
    """The checkpoint's measurements; None if there are none."""
    if checkpoint is None or not (checkpoint / MEASURED).exists():
        return None
    raw: dict[str, Any] = json.loads((checkpoint / MEASURED).read_text(encoding="utf-8"))
    return EvalResult(**{**raw, "evaluation": Evaluation(**raw["evaluation"])})
