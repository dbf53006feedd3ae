"""Whether a stored search is worth further trials, or why it began no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.database import Database
from cluster.database.tables import Sweep
from cluster.settings import Settings
from sweeps import run_store
from sweeps.errors import SweepError
from sweeps.study.early_stops import stored_decision
from sweeps.study.storage import read_attributes
from sweeps.sweep_store import FAILED, FINISHED
from sweeps.trials import TrialSummary
from sweeps.worth.next_trial import NextTrial, measure_of, next_trial
from sweeps.worth.stop_rule import EarlyStop


@dataclass(frozen=True)
class SearchWorth:
    """The worth of a further trial, and the decision of `sweep.stop_when`; None where unknown."""

    next_trial: NextTrial | None = None
    stopped_early: EarlyStop | None = None

    def plain(self) -> dict[str, Any]:
        """Both as JSON."""
        coming, stop = self.next_trial, self.stopped_early
        return {
            "stopped_early": None if stop is None else stop.plain(),
            "next_trial": None if coming is None else coming.plain(),
        }

    def lines(self) -> list[str]:
        """Both as lines for a person."""
        stop = [] if self.stopped_early is None else [self.stopped_early.text]
        return stop + ([] if self.next_trial is None else [self.next_trial.text()])


def search_worth(
    settings: Settings, database: Database, row: Sweep, trials: Sequence[TrialSummary]
) -> SearchWorth:
    """The worth of a sweep's next trial, or of another where none is left to begin.

    `trials` have begun. Nothing is known of a recipe that this version does not read.
    """
    try:
        recipe = run_store.recipe_of(row)
    except SweepError:
        return SearchWorth()
    config = recipe.stages[row.stage]
    stop = stored_decision(read_attributes(settings, row.study), config.sweep)
    repeats = sum(trial.again is not None for trial in trials)
    left = config.sweep.trials + repeats - len(trials)
    if stop is not None or not config.space() or row.state in (FINISHED, FAILED):
        left = 0
    usd_per_hour = run_store.trial_price(database, row)
    measure = measure_of(recipe, row.stage)
    coming = next_trial(trials, max(0, left), measure, usd_per_hour) if config.space() else None
    return SearchWorth(coming, stop)
