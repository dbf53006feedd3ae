"""What a finished sweep has found."""

from __future__ import annotations

from dataclasses import dataclass

from align.evaluation.comparison import Compared
from cluster.registry import AdapterVersion
from sweeps.results.finalists import Standing
from sweeps.study.trials import TrialSummary


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep: its trials, and the best of them as a registered version.

    `best` is the trial that was chosen: by `unseen`, how the finalists stand on items that the
    search never saw, or else on validation items. `seconds` is what it took over all attempts;
    `gain` holds the best against the default on the same validation items, where both kept their
    rows.
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
