"""The result of a finished sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from align.evaluation.comparison import Compared
from cluster.registry import AdapterVersion
from sweeps.finalists import Standing
from sweeps.trials import TrialSummary


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep: its trials, and the best of them as a registered version.

    `best` is the chosen trial: the winner of `unseen`, the standing of the finalists on items that
    the search never saw, or else the best on validation items. `seconds` is the time over all
    attempts; `gain` compares the best with the default on the same validation items, where both
    have rows.
    """

    line: str
    study: str
    run: int
    version: AdapterVersion
    trials: tuple[TrialSummary, ...]
    best: TrialSummary
    seconds: float
    gain: Compared | None = None
    unseen: Standing | None = None

    @property
    def pruned(self) -> int:
        """Trials that were stopped at a rung."""
        return sum(trial.state == "PRUNED" for trial in self.trials)

    @property
    def failed(self) -> int:
        """Trials that ended with an error or an objective that is no number."""
        return sum(trial.state == "FAIL" for trial in self.trials)


def no_result(study: str, stage: str, trials: Sequence[TrialSummary]) -> str:
    """The error of a search in which no trial was completed: the reasons, and what to do."""
    reasons = "; ".join(
        f"trial {trial.number} {trial.state}" + (f" ({trial.reason})" if trial.reason else "")
        for trial in trials
    )
    return (
        f"no trial of {study} was completed: {reasons}. Change the recipe's stage '{stage}' "
        "(a lower learning_rate, other rungs) or data, and run the sweep again"
    )
