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

from align.recipe import StageConfig
from cluster.database import Database
from cluster.settings import Settings
from sweeps.results.baseline import DEFAULT
from sweeps.study.constraints import constrain, told
from sweeps.study.distributions import suggest
from sweeps.study.lock import StudyLock
from sweeps.study.pruners import Pruning
from sweeps.study.samplers import Sampling
from sweeps.study.study_trials import StudyTrials
from sweeps.study.trials import (
    DEATHS,
    DECIDED,
    PRUNED,
    RAN,
    REASON,
    RUNG,
    UNSEEN,
    Assignment,
    Milestone,
    TrialSummary,
    measured,
)


class StudySession:
    """One study under one driver; the only user of Optuna in a sweep. Not thread-safe.

    All metrics of a milestone are in the user attribute `rung:<optimizer step>`; what the pruner
    goes by is the study's intermediate value, see `sweeps.study.pruners`. A trial that breaks the
    stage's constraints counts as the worst there, so that none that keeps to them is pruned for
    its sake; its objective is left as it was measured.
    """

    def __init__(
        self, settings: Settings, database: Database, study: str, stage: StageConfig
    ) -> None:
        """Lock the study and create it, with the recipe's defaults queued as trial 0.

        SweepLocked if another process drives it; SweepError if sampler, pruner or warm start
        cannot be what the recipe says, or if the study on the database contradicts it.
        """
        self.name = study
        self._stage = stage
        self._sampling = Sampling(stage)
        self._pruning = Pruning(stage)
        self._live: dict[int, Any] = {}
        self._stopped = False
        self._lock = StudyLock(settings, database, study)
        try:
            self._contents = StudyTrials(settings, database, study, stage, self._sampling.grid)
            self._study = self._contents.study
            self._settle()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> StudySession:
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
        self._contents.close()
        self._lock.release()

    @property
    def notes(self) -> list[str]:
        """What a user is to know of how the search was set up."""
        return self._contents.notes

    @property
    def wanted(self) -> int:
        """Trials that the sweep is to have, with those that repeat failed ones."""
        return self._contents.wanted

    @property
    def finished(self) -> bool:
        """Whether every trial has been run to its end, or no more may be asked for."""
        begun = self._contents.begun()
        ended = all(trial.state.is_finished() for trial in begun)
        return ended and (self._stopped or len(begun) >= self.wanted)

    @property
    def started(self) -> bool:
        """Whether any trial has been measured yet."""
        return any(key.startswith(RUNG) for one in self._contents.begun() for key in one.user_attrs)

    def trials(self) -> list[TrialSummary]:
        """All trials that were begun, by number."""
        return self._contents.summaries()

    def summary(self, number: int) -> TrialSummary:
        """One trial."""
        return self._contents.summaries(number)[0]

    def ask(self) -> Assignment | None:
        """The next trial to run, or None when all have been handed out.

        Trials that nobody runs but that are RUNNING come first, under their old numbers: an
        earlier driver's, and those that were released.
        """
        if self._stopped:
            return None
        orphans = (one for one in self._contents.begun() if _is_running(one))
        orphan = next((one for one in orphans if one.number not in self._live), None)
        number = self._contents.next_number() if orphan is None else orphan.number
        if number is None:
            return None
        self._study.sampler = self._sampling.make(number)
        self._contents.changed()
        trial = (
            self._study.ask()
            if orphan is None
            else optuna.trial.Trial(self._study, orphan._trial_id)
        )
        self._live[trial.number] = trial
        params = self._params(trial)
        self._contents.changed()
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
        attrs = trial.user_attrs
        if milestone.step <= int(attrs.get(DECIDED, 0)):
            return True  # a restarted worker went over it again
        self._contents.changed()
        key = f"{RUNG}{milestone.step}"
        metrics = attrs.get(key, milestone.metrics)  # the first counts
        if key not in attrs:
            if milestone.ran is not None:
                trial.set_user_attr(f"{RAN}{milestone.step}", milestone.ran)
            trial.set_user_attr(key, metrics)
        objective = metrics.get("objective", math.nan)
        if not math.isfinite(objective):
            self.fail(number, f"objective is {objective} at step {milestone.step}")
            return False
        if milestone.last:
            constrain(trial, metrics)
            self._tell(trial, TrialState.COMPLETE, objective)
            return False
        return self._judge(trial, milestone, metrics)

    def fail(self, number: int, reason: str) -> None:
        """End a trial as FAIL; does nothing to one that has ended."""
        if (trial := self._live.get(number)) is not None:
            trial.set_user_attr(REASON, reason)
            self._tell(trial, TrialState.FAIL)

    def died(self, number: int, reason: str, counts: bool) -> bool:
        """The trial's worker is gone: True if it is to be tried again.

        Only what `counts` is held against the trial (a lost machine is not), over all drivers;
        more of it than the recipe's `retries` ends the trial as FAIL. One that has ended already
        is not tried again. Whoever tries again may `release` it for another worker.
        """
        trial = self._live.get(number)
        if trial is None:
            return False
        if not counts:
            return True
        deaths = int(trial.user_attrs.get(DEATHS, 0)) + 1
        if deaths > self._stage.sweep.retries:
            self.fail(number, reason)
            return False
        trial.set_user_attr(DEATHS, deaths)
        self._contents.changed()
        return True

    def release(self, number: int) -> None:
        """Nobody runs this trial any more: `ask` hands it out again. Harmless when repeated."""
        self._live.pop(number, None)

    def unseen(
        self, number: int, metrics: dict[str, float], ran: dict[str, Any] | None = None
    ) -> None:
        """Keep what a finished trial's adapter did on items that the search never saw."""
        found = {"metrics": metrics, **({"ran": ran} if ran else {})}
        self._study.set_user_attr(f"{UNSEEN}{number}", found)

    def stop_open(self, reason: str) -> None:
        """End all trials that have not ended as FAIL; this bridge hands out no more."""
        self._stopped = True
        for one in self._contents.open_trials():
            if one.state == TrialState.WAITING:
                self._study._storage.set_trial_state_values(one._trial_id, TrialState.RUNNING)
            self._study._storage.set_trial_user_attr(one._trial_id, REASON, reason)
            self._study.tell(one.number, state=TrialState.FAIL, skip_if_finished=True)
        self._live.clear()
        self._contents.changed()

    def again(self) -> int:
        """Queue the parameters of all failed trials that were not repeated yet; how many."""
        self._stopped = False
        return self._contents.again()

    def _params(self, trial: Any) -> dict[str, Any]:
        """The trial's parameters: what it holds, was queued with, or is suggested now.

        The sampler sees the trial as a whole first, if it has anything to say, then each field
        that it left open has a generator of its own.
        """
        number = trial.number
        queued = trial.storage.get_trial_system_attrs(trial._trial_id)
        fixed = queued.get("fixed_params", {})
        held = {**fixed, **trial.params}
        if not fixed and any(path not in held for path in self._stage.active(held)):
            trial.relative_params  # noqa: B018

        def reseed(path: str) -> None:
            if path not in held:
                self._study.sampler = self._sampling.make(number, path)

        return dict(suggest(trial, self._stage, reseed))

    def _judge(self, trial: Any, milestone: Milestone, metrics: dict[str, float]) -> bool:
        """Let the pruner decide. The decision is stored first, so that it is made only once.

        The default is asked about too, since the others are compared with what is noted of it.
        """
        storage, identity = trial.storage, trial._trial_id
        resource = self._pruning.resource(milestone.index, milestone.step)
        value = told(metrics["objective"], metrics, self._stage.minimised)
        storage.set_trial_intermediate_value(identity, resource, value)
        frozen = storage.get_trial(identity)
        verdict = self._pruning.judge(self._study, frozen)
        goes_on = verdict.goes_on or trial.number == DEFAULT
        trial.set_user_attr(DECIDED if goes_on else PRUNED, milestone.step)
        for key, note in verdict.notes.items():
            storage.set_trial_system_attr(identity, key, note)
        if not goes_on:
            constrain(trial, metrics)
            self._tell(trial, TrialState.PRUNED)
        return goes_on

    def _settle(self) -> None:
        """Finish what a killed driver had decided of its trials but not written down whole."""
        for one in (trial for trial in self._contents.begun() if _is_running(trial)):
            attrs, storage = one.user_attrs, self._study._storage
            if REASON in attrs:
                self._study.tell(one.number, state=TrialState.FAIL)
                continue
            step = int(attrs.get(PRUNED, attrs.get(DECIDED, 0)))
            decided = sum(one_step <= step for one_step in measured(one))
            if decided == 0 or decided < len(one.intermediate_values):
                continue  # it is to be decided once the milestone is reported again
            for key, note in self._pruning.judge(self._study, one).notes.items():
                storage.set_trial_system_attr(one._trial_id, key, note)
            if PRUNED in attrs:
                trial = optuna.trial.Trial(self._study, one._trial_id)
                constrain(trial, attrs[f"{RUNG}{step}"])
                self._tell(trial, TrialState.PRUNED)
        self._contents.changed()

    def _tell(self, trial: Any, state: Any, value: float | None = None) -> None:
        self._live.pop(trial.number, None)
        self._study.tell(trial, value, state=state, skip_if_finished=True)
        self._contents.changed()


def _is_running(trial: Any) -> bool:
    return bool(trial.state == TrialState.RUNNING)
