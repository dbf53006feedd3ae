"""What is known of one search while it goes on."""

from __future__ import annotations

from dataclasses import replace

from sweeps.events import (
    FinalistMeasured,
    MilestoneReported,
    StageFinished,
    StageStarted,
    TrialFinished,
    TrialRetried,
    TrialStarted,
)
from sweeps.progress.formatting import system_name
from sweeps.progress.time_left import seconds_left, work_left
from sweeps.results.baseline import DEFAULT
from sweeps.study.trials import TrialSummary, best_of

_ENDED = ("COMPLETE", "PRUNED", "FAIL")


class StageView:
    """One stage's trials and figures. `began` and every `now` are seconds of the same clock."""

    def __init__(self, started: StageStarted, began: float) -> None:
        self.started, self._began = started, began
        self.finished: StageFinished | None = None
        # A trial of a former attempt waits until it is handed out again.
        self._trials = {trial.number: _waiting(trial) for trial in started.earlier}
        self._totals: dict[int, int] = {}
        #: How often a worker ended before its trial did, by the trial's number.
        self.retried: dict[int, int] = {}
        #: Objectives on unseen items, by the system's name.
        self.unseen: dict[str, float] = {}
        self._finalists = 0

    @property
    def trials(self) -> list[TrialSummary]:
        """All that have begun, by number; those without a worker are WAITING."""
        return sorted(self._trials.values(), key=lambda one: one.number)

    @property
    def running(self) -> int:
        """How many trials have a worker."""
        return sum(one.state == "RUNNING" for one in self._trials.values())

    @property
    def ended(self) -> int:
        """How many trials are over."""
        return sum(one.state in _ENDED for one in self._trials.values())

    @property
    def measures_finalists(self) -> bool:
        """Whether all trials have ended, and the result is not there yet."""
        over = self.ended >= self.started.trials and self.ended == len(self._trials)
        return self.finished is None and (over or bool(self.unseen))

    @property
    def best(self) -> TrialSummary | None:
        """The chosen one once there is one; until then the best on validation items."""
        if self.finished is not None:
            return self.finished.best
        return best_of(self._trials.values(), self.started.minimised)

    @property
    def default(self) -> TrialSummary | None:
        """The recipe's own settings, trial 0; None before they begin."""
        return self._trials.get(DEFAULT)

    @property
    def finalists(self) -> str:
        """How many finalists are measured, of how many where that is known."""
        count = len(self.unseen)
        return f"{count}/{self._finalists}" if self._finalists else f"{count} done"

    def beside(self, system: str) -> float | None:
        """The objective of `parent` or `base` on the same items, where a trial tells it."""
        names = [self.started.objective]
        if self.started.objective == "reward":
            names.append("mean_reward")  # its name among the metrics
        for one in self.trials:
            for name in names:
                if one.state == "COMPLETE" and f"{system}_{name}" in one.metrics:
                    return one.metrics[f"{system}_{name}"]
        return None

    def to_default(self, trial: TrialSummary) -> float | None:
        """A trial's objective less the default's at the same step; None where either lacks it."""
        if trial.number == DEFAULT or self.default is None or trial.objective is None:
            return None
        theirs = self.default.rungs.get(trial.step, {}).get("objective")
        return None if theirs is None else trial.objective - theirs

    def total(self, number: int) -> int:
        """Optimizer steps of a trial."""
        return self._totals.get(number, self.started.steps)

    def elapsed(self, now: float) -> float:
        """Seconds of this search over all attempts."""
        if self.finished is not None:
            return self.finished.seconds
        return self.started.seconds_before + now - self._began

    def left(self, slots: int | None = None) -> float | None:
        """An estimate of the seconds that its trials need with the whole pool."""
        if self.finished is not None or self.measures_finalists:
            return None
        return seconds_left(self.started, self.trials, self._totals, slots)

    def work(self) -> list[float] | None:
        """Seconds that each trial still needs; None before anything was measured."""
        if self.finished is not None or self.measures_finalists:
            return []
        return work_left(self.started, self.trials, self._totals)

    def trial_started(self, event: TrialStarted) -> None:
        """A worker has it."""
        fresh = TrialSummary(event.number, "RUNNING", event.params, None, event.step)
        known = self._trials.get(event.number, fresh)
        self._trials[event.number] = replace(known, state="RUNNING", params=event.params)

    def measured(self, event: MilestoneReported) -> None:
        """Take in a milestone; one that was reported before is counted once."""
        trial, milestone = self._trials.get(event.number), event.milestone
        if trial is None or milestone.step in trial.rungs:
            return
        violation = milestone.metrics.get("violation")
        self._totals[event.number] = milestone.total
        self._trials[event.number] = replace(
            trial,
            step=milestone.step,
            objective=milestone.metrics.get("objective"),
            metrics=milestone.metrics,
            rungs={**trial.rungs, milestone.step: milestone.metrics},
            seconds=trial.seconds + milestone.metrics.get("seconds", 0.0),
            violation=violation,
            feasible=violation is None or violation <= 0,
        )

    def trial_retried(self, event: TrialRetried) -> None:
        """It waits for another worker. A finalist that is measured again stays complete."""
        self.retried[event.number] = self.retried.get(event.number, 0) + 1
        if (known := self._trials.get(event.number)) is not None:
            self._trials[event.number] = _waiting(known)

    def trial_finished(self, event: TrialFinished) -> None:
        """It is over."""
        self._trials[event.trial.number] = event.trial

    def finalist_measured(self, event: FinalistMeasured) -> None:
        """Finalists are measured when no trial is open: those that still were have been stopped."""
        for number, one in self._trials.items():
            if one.state not in _ENDED:
                self._trials[number] = replace(one, state="FAIL")
        self.unseen[system_name(event)] = event.objective
        self._finalists = event.of

    def finish(self, event: StageFinished) -> None:
        """The result is there."""
        self.finished = event
        self._trials = {trial.number: trial for trial in event.trials}


def _waiting(trial: TrialSummary) -> TrialSummary:
    return replace(trial, state="WAITING") if trial.state == "RUNNING" else trial
