"""The bridge to one Optuna study: what a sweep suggests, measures, prunes and ends goes through it.

The study in the database is the truth about a sweep. The bridge writes each fact as it happens,
and each write may be repeated, so a driver that was killed at any point is continued by another.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any

import optuna
from optuna.trial import TrialState

from align.recipe import StageConfig, SweepConfig
from cluster.database import Database
from cluster.settings import Settings
from sweeps.default import DEFAULT
from sweeps.errors import SweepError
from sweeps.study.distributions import suggest
from sweeps.study.lock import StudyLock
from sweeps.study.storage import open_storage
from sweeps.study.trials import (
    DECIDED,
    REASON,
    RUNG,
    Assignment,
    Milestone,
    TrialSummary,
    summarise,
)


class StudyBridge:
    """One study under one driver; the only user of Optuna in a sweep. Not thread-safe.

    Rungs: a recipe names optimizer steps, successive halving knows resources 1, f, f², … So the
    study's intermediate step of the i-th milestone is f^i, which makes every rung of the recipe a
    decision of the pruner. The optimizer step and all metrics are in the user attribute
    `rung:<optimizer step>`.
    """

    def __init__(
        self, settings: Settings, database: Database, study: str, stage: StageConfig
    ) -> None:
        """Lock the study and create it, with the recipe's defaults queued as trial 0.

        SweepLocked if another process drives it.
        """
        self.name = study
        self._stage = stage
        self._spaces = stage.space()
        self._live: dict[int, Any] = {}
        self._lock = StudyLock(settings, database, study)
        try:
            self._storage = open_storage(settings)
            self._study = self._create()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> StudyBridge:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the study. Trials still RUNNING are what the next driver continues."""
        self._live.clear()
        self._storage.engine.dispose()
        self._lock.release()

    @property
    def wanted(self) -> int:
        """Trials that the sweep is to have; one is enough where nothing is searched."""
        return self._stage.sweep.trials if self._spaces else 1

    @property
    def finished(self) -> bool:
        """Whether every trial has been run to its end."""
        ended = [trial for trial in self._frozen() if trial.state.is_finished()]
        begun = [trial for trial in self._frozen() if trial.state != TrialState.WAITING]
        return len(ended) == len(begun) and len(begun) >= self.wanted

    @property
    def started(self) -> bool:
        """Whether any trial has been measured yet."""
        return any(trial.intermediate_values for trial in self._frozen())

    def trials(self) -> list[TrialSummary]:
        """All trials that were begun, by number."""
        return [summarise(one) for one in self._frozen() if one.state != TrialState.WAITING]

    def summary(self, number: int) -> TrialSummary:
        """One trial."""
        return next(summarise(one) for one in self._frozen() if one.number == number)

    def ask(self) -> Assignment | None:
        """The next trial to run, or None when all have been handed out.

        Trials that an earlier driver left RUNNING come first, under their old numbers.
        """
        trials = self._frozen()
        orphans = [
            one
            for one in trials
            if one.state == TrialState.RUNNING and one.number not in self._live
        ]
        begun = sum(one.state != TrialState.WAITING for one in trials)
        if orphans:
            trial = optuna.trial.Trial(self._study, orphans[0]._trial_id)
        elif begun < self.wanted:
            trial = self._study.ask()
        else:
            return None
        params = suggest(trial, self._spaces)
        self._live[trial.number] = trial
        return Assignment(trial.number, params, int(trial.user_attrs.get(DECIDED, 0)))

    def report(self, number: int, milestone: Milestone) -> bool:
        """Record a measurement, and decide: True if the trial goes on, False if it has ended.

        An objective that is not finite ends it as FAIL, the last step as COMPLETE, the pruner as
        PRUNED. The recipe's defaults, trial 0, are never pruned: every sweep has them complete to
        hold its best against. A milestone reported again changes nothing.
        """
        trial = self._live.get(number)
        if trial is None:
            return False
        if milestone.step <= int(trial.user_attrs.get(DECIDED, 0)):
            return True  # a restarted worker went over it again
        trial.set_user_attr(f"{RUNG}{milestone.step}", milestone.metrics)
        if not math.isfinite(milestone.objective):
            self.fail(number, f"objective is {milestone.objective} at step {milestone.step}")
            return False
        if milestone.last:
            self._tell(number, TrialState.COMPLETE, milestone.objective)
            return False
        trial.report(milestone.objective, _resource(self._stage.sweep, milestone.index))
        # Once for each rung: Optuna's successive halving counts every call as another rung. The
        # default is asked about too, since the others are compared with what it notes.
        if trial.should_prune() and number != DEFAULT:
            self._tell(number, TrialState.PRUNED)
            return False
        trial.set_user_attr(DECIDED, milestone.step)
        return True

    def fail(self, number: int, reason: str) -> None:
        """End a trial as FAIL; does nothing to one that has ended."""
        if (trial := self._live.get(number)) is not None:
            trial.set_user_attr(REASON, reason)
            self._tell(number, TrialState.FAIL)

    def _tell(self, number: int, state: Any, value: float | None = None) -> None:
        trial = self._live.pop(number)
        self._study.tell(trial, value, state=state, skip_if_finished=True)

    def _create(self) -> Any:
        direction = "minimize" if self._stage.minimised else "maximize"
        study = optuna.create_study(
            storage=self._storage,
            study_name=self.name,
            direction=direction,
            load_if_exists=True,
            pruner=_pruner(self._stage.sweep),
        )
        if study.direction.name.lower() != direction:
            raise SweepError(
                f"study {self.name} exists and is to {study.direction.name.lower()}, but objective "
                f"'{self._stage.objective}' is to {direction}; start anew with --fresh"
            )
        begun = len(study.get_trials(deepcopy=False))
        if begun == 0:
            study.enqueue_trial(self._stage.defaults())
        study.sampler = _sampler(self._stage.sweep, begun)
        return study

    def _frozen(self) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False))


def _resource(sweep: SweepConfig, index: int) -> int:
    return int(sweep.reduction_factor**index)


def _pruner(sweep: SweepConfig) -> Any:
    if sweep.pruner == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=1, reduction_factor=sweep.reduction_factor
        )
    if sweep.pruner == "median":
        # Optuna's default waits for 5 trials, which is a whole small sweep.
        return optuna.pruners.MedianPruner(n_startup_trials=min(5, max(1, sweep.trials // 4)))
    return optuna.pruners.NopPruner()


def _sampler(sweep: SweepConfig, begun: int) -> Any:
    # A resumed sampler with the old seed would suggest the same points again.
    seed = sweep.seed + begun
    if sweep.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=min(10, max(2, sweep.trials // 3)), constant_liar=True
    )
