"""A driver's session on one Optuna study: suggests, records, prunes and ends trials.

The study in the database is the only state of a sweep. The session writes each fact as it happens,
and each write may be repeated, so another driver can continue wherever a driver was killed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import TracebackType
from typing import Any

from optuna.trial import TrialState

from align.recipe import StageConfig
from cluster.database import Database
from cluster.settings import Settings
from sweeps.study.constraints import constrain
from sweeps.study.rung_decisions import RungDecisions, bracket_size, by_promise, due, waiting_at
from sweeps.study.samplers import Sampling
from sweeps.study.study_state import StudyState
from sweeps.study.study_trials import StudyTrials
from sweeps.study_lock import StudyLock
from sweeps.trials import (
    DEATHS,
    DECIDED,
    DEFAULT,
    PRUNED,
    RAN,
    REASON,
    RUNG,
    UNSEEN,
    VALUES,
    Assignment,
    Milestone,
    measured,
    rounded,
)


class StudySession(StudyState):
    """One study under one driver; the only user of Optuna in a sweep. Not thread-safe.

    All metrics of a milestone are in the user attribute `rung:<optimizer step>`. The pruner reads
    Optuna's intermediate values, see `sweeps.study.pruners`: there a trial that violates the
    stage's constraints has the worst value, so that no feasible trial is pruned in its favour. Its
    objective stays as it was measured.
    """

    def __init__(
        self, settings: Settings, database: Database, study: str, stage: StageConfig
    ) -> None:
        """Lock the study and create it, with the recipe's defaults queued as trial 0.

        SweepLocked if another process drives it; SweepError if the recipe's sampler, pruner or warm
        start is invalid, or if the study on the database contradicts the recipe.
        """
        self.name = study
        self._stage, self._sampling = stage, Sampling(stage)
        self._decisions = RungDecisions(stage, study)
        self._live: dict[int, Any] = {}
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
        """Release the study. The next driver continues trials that are still RUNNING."""
        self._live.clear()
        self._contents.close()
        self._lock.release()

    def check_lock(self) -> None:
        """SweepLocked if another process drives the study now, since this one lost its lock."""
        self._lock.check()

    def ask(self) -> Assignment | None:
        """The next trial to run, or None if all have been handed out.

        RUNNING trials without a worker come first, under their old numbers: those of an earlier
        driver, released trials, and those that have passed a rung at which they waited.
        """
        if self._stopped:
            return None
        busy = self._live.keys() | self._waiting()
        running = [trial for trial in self._contents.begun() if _is_running(trial)]
        orphans = [trial for trial in running if trial.number not in busy]
        if self._members():
            orphans = by_promise(orphans, self._decisions.minimised)
        orphan = next(iter(orphans), None)
        number = self._contents.next_number() if orphan is None else orphan.number
        if number is None:
            return None
        self._study.sampler = self._sampling.make(number)
        self._contents.changed()
        trial = self._study.ask() if orphan is None else self._contents.trial(number)
        self._live[trial.number] = trial
        params = self._contents.params(trial, self._sampling)
        self._contents.changed()
        return Assignment(trial.number, params, int(trial.user_attrs.get(DECIDED, 0)))

    def report(self, number: int, milestone: Milestone) -> bool:
        """Record a milestone and decide: True if the trial continues, False if it ended or waits.

        A trial waits where others have to reach its rung first: see `paused` and `decide_rung`. A
        non-finite objective ends it as FAIL, the last step as COMPLETE, the pruner as PRUNED.
        Trial 0, the recipe's defaults, is never pruned: every sweep completes it to compare its
        best trial with. Reporting a milestone again changes nothing.
        """
        trial = self._live.get(number)
        if trial is None:
            return False
        attrs = trial.user_attrs
        if milestone.step <= int(attrs.get(DECIDED, 0)):
            return True  # reported again by a restarted worker
        self._contents.changed()
        key = f"{RUNG}{milestone.step}"
        metrics = attrs.get(key, milestone.metrics)  # the first report counts
        if key not in attrs:
            if milestone.values:
                trial.set_user_attr(f"{VALUES}{milestone.step}", rounded(milestone.values))
            if milestone.ran is not None:
                trial.set_user_attr(f"{RAN}{milestone.step}", milestone.ran)
            trial.set_user_attr(key, metrics)
        milestone = replace(milestone, metrics=metrics)
        if not math.isfinite(milestone.decisive):
            name = "objective" if milestone.last or "rung" not in metrics else "the rung metric"
            self.fail(number, f"{name} is {milestone.decisive} at step {milestone.step}")
            return False
        if milestone.last:
            constrain(trial, metrics)
            self._tell(trial, TrialState.COMPLETE, milestone.objective)
            return False
        self._contents.changed()
        if number in self._waiting():
            self.release(number)
            return False
        return self._judge(trial, milestone)

    def paused(self, number: int) -> bool:
        """Whether a trial waits at a rung for the decision."""
        return number in self._waiting()

    def decide_rung(self) -> list[int]:
        """Decide on the trials at a rung that all have reached; the numbers of those that ended.

        SweepLocked if another process drives the study now.
        """
        ended, rungs = [], self._stage.sweep.rungs
        begun_trials, wanted = self._contents.begun(), self.wanted
        trials = due(begun_trials, bracket_size(self._stage, wanted), wanted, rungs)
        if trials:
            self.check_lock()
        for trial in trials:
            step, metrics = max(measured(trial).items())
            milestone = Milestone(step, rungs[-1] + 1, rungs.index(step), metrics)
            if not self._judge(self._contents.trial(trial.number), milestone):
                ended.append(int(trial.number))
        return ended

    def fail(self, number: int, reason: str) -> None:
        """End a trial as FAIL; does nothing if it has ended."""
        if (trial := self._live.get(number)) is not None:
            trial.set_user_attr(REASON, reason)
            self._tell(trial, TrialState.FAIL)

    def died(self, number: int, reason: str, counts: bool) -> bool:
        """Record the loss of the trial's worker: True if the trial should be retried.

        Only losses that `counts` marks as possibly the trial's fault (not a lost machine) are
        counted, over all drivers; more than the recipe's `retries` end the trial as FAIL. A trial
        that has ended is not retried. Call `release` to give the trial to another worker.
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
        """Mark the trial as without a worker: `ask` hands it out again. May be repeated."""
        self._live.pop(number, None)

    def unseen(
        self, number: int, metrics: dict[str, float], ran: dict[str, Any] | None = None
    ) -> None:
        """Store the metrics of a finished trial's adapter on items that the search never used."""
        content = {"metrics": metrics, **({"ran": ran} if ran else {})}
        self._study.set_user_attr(f"{UNSEEN}{number}", content)

    def stop_open(self, reason: str) -> None:
        """End all open trials as FAIL; this session hands out no more."""
        self._stopped = True
        self._contents.fail_open(reason)
        self._live.clear()

    def again(self) -> int:
        """Queue the parameters of failed trials that were not repeated yet; returns how many."""
        self._stopped = False
        return self._contents.again()

    def _members(self) -> list[Any]:
        return self._contents.begun()[: bracket_size(self._stage, self.wanted)]

    def _waiting(self) -> set[int]:
        rungs = self._stage.sweep.rungs
        return {trial.number for trial in self._members() if waiting_at(trial, rungs) is not None}

    def _judge(self, trial: Any, milestone: Milestone) -> bool:
        """Let the pruner decide. The decision is stored before its notes, so it is made only once.

        The pruner also decides on the default, as other trials are compared with its notes.
        """
        self._contents.changed()
        verdict = self._decisions.decide(trial, milestone, self._contents.begun())
        continues = verdict.goes_on or trial.number == DEFAULT
        trial.set_user_attr(DECIDED if continues else PRUNED, milestone.step)
        self._decisions.store(trial, verdict)
        if not continues:
            constrain(trial, milestone.metrics)
            self._tell(trial, TrialState.PRUNED)
        self._contents.changed()
        return continues

    def _settle(self) -> None:
        """Complete decisions on trials that a killed driver had stored only in part."""
        for trial in (trial for trial in self._contents.begun() if _is_running(trial)):
            attrs = trial.user_attrs
            if REASON in attrs:
                self._study.tell(trial.number, state=TrialState.FAIL)
                continue
            if not self._decisions.is_decided(trial):
                continue  # decided when the milestone is reported again, or with the others
            live_trial = self._contents.trial(trial.number)
            self._decisions.write_notes(live_trial, trial)
            if PRUNED in attrs:
                constrain(live_trial, attrs[f"{RUNG}{attrs[PRUNED]}"])
                self._tell(live_trial, TrialState.PRUNED)
        self._contents.changed()

    def _tell(self, trial: Any, state: Any, value: float | None = None) -> None:
        self._live.pop(trial.number, None)
        self._study.tell(trial, value, state=state, skip_if_finished=True)
        self._contents.changed()
        self.stop_when.consider()


def _is_running(trial: Any) -> bool:
    return bool(trial.state == TrialState.RUNNING)
