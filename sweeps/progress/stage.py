"""The state of a stage's search while it runs."""

from __future__ import annotations

from dataclasses import replace

from sweeps.events import (
    FinalistMeasured,
    MilestoneReported,
    SearchStopped,
    StageFinished,
    StageStarted,
    TrialFinished,
    TrialPaused,
    TrialRetried,
    TrialStarted,
    WorkerWarned,
)
from sweeps.progress.formatting import system_name
from sweeps.progress.time_left import seconds_left, work_left
from sweeps.trials import DEFAULT, TrialSummary, best_of
from sweeps.worth.next_trial import Measure, NextTrial, next_trial

_ENDED = ("COMPLETE", "PRUNED", "FAIL")


class StageView:
    """The trials and figures of a stage. `began` and every `now` are seconds of the same clock."""

    def __init__(self, started: StageStarted, began: float) -> None:
        self.started, self._began = started, began
        self.finished: StageFinished | None = None
        # A running trial of an earlier attempt is WAITING until a worker gets it again.
        self._trials = {trial.number: _waiting(trial) for trial in started.earlier}
        self._totals: dict[int, int] = {}
        #: How often a worker ended before its trial did, by the trial's number.
        self.retried: dict[int, int] = {}
        #: Objectives on unseen items, by the system's name.
        self.unseen: dict[str, float] = {}
        #: What workers warned of.
        self.remarks: list[str] = []
        self._finalists = 0

    @property
    def trials(self) -> list[TrialSummary]:
        """All trials that have begun, by number; trials without a worker are WAITING."""
        return sorted(self._trials.values(), key=lambda trial: trial.number)

    @property
    def running(self) -> int:
        """How many trials have a worker."""
        return sum(trial.state == "RUNNING" for trial in self._trials.values())

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(trial.state in _ENDED for trial in self._trials.values())

    @property
    def measures_finalists(self) -> bool:
        """Whether all trials have ended and the stage's result is not known yet."""
        all_ended = self.ended >= self.started.trials and self.ended == len(self._trials)
        return self.finished is None and (all_ended or bool(self.unseen))

    @property
    def best(self) -> TrialSummary | None:
        """The chosen trial once it is known; until then the best trial on validation items."""
        if self.finished is not None:
            return self.finished.best
        return best_of(self._trials.values(), self.started.minimised)

    @property
    def default(self) -> TrialSummary | None:
        """The trial of the recipe's own settings, trial 0; None before it begins."""
        return self._trials.get(DEFAULT)

    @property
    def next_trial(self) -> NextTrial | None:
        """The worth of the next trial; None before it is known, and where no trial is left."""
        started, left = self.started, self.started.trials - len(self._trials)
        if left < 1:
            return None
        measure = Measure(started.objective, started.minimised, started.items)
        return next_trial(self.trials, left, measure, started.usd_per_hour)

    @property
    def finalists(self) -> str:
        """How many finalists are measured, and of how many where that is known."""
        count = len(self.unseen)
        return f"{count}/{self._finalists}" if self._finalists else f"{count} done"

    def beside(self, system: str) -> float | None:
        """The objective of `parent` or `base` on the same items, if a complete trial reports it."""
        names = [self.started.objective]
        if self.started.objective == "reward":
            names.append("mean_reward")  # its name among the metrics
        for trial in self.trials:
            for name in names:
                if trial.state == "COMPLETE" and f"{system}_{name}" in trial.metrics:
                    return trial.metrics[f"{system}_{name}"]
        return None

    def to_default(self, trial: TrialSummary) -> float | None:
        """A trial's objective minus the default's at the same step; None where either lacks it."""
        if trial.number == DEFAULT or self.default is None or trial.objective is None:
            return None
        default_objective = self.default.rungs.get(trial.step, {}).get("objective")
        return None if default_objective is None else trial.objective - default_objective

    def total(self, number: int) -> int:
        """Optimizer steps of a trial."""
        return self._totals.get(number, self.started.steps)

    def elapsed(self, now: float) -> float:
        """Seconds of this search over all attempts."""
        if self.finished is not None:
            return self.finished.seconds
        return self.started.seconds_before + now - self._began

    def left(self, slots: int | None = None) -> float | None:
        """An estimate of the seconds that the stage's trials need with the whole pool."""
        if self.finished is not None or self.measures_finalists:
            return None
        return seconds_left(self.started, self.trials, self._totals, slots)

    def work(self) -> list[float] | None:
        """Seconds that each trial still needs; None before anything was measured."""
        if self.finished is not None or self.measures_finalists:
            return []
        return work_left(self.started, self.trials, self._totals)

    def state(self) -> str:
        """What runs of this stage, and the steps done, in a line."""
        if self.measures_finalists:
            return f"{self.started.stage}: measuring finalists, {self.finalists}, on unseen items"
        running = [
            f"trial {trial.number} "
            + (f"after step {trial.step} of {self.total(trial.number)}" if trial.step else "begun")
            for trial in self.trials
            if trial.state == "RUNNING"
        ]
        ended = f"{self.started.stage}: {self.ended} of {self.started.trials} trials ended"
        return f"{ended}, {', '.join(running) or 'none running'}"

    def trial_started(self, event: TrialStarted) -> None:
        """Mark a trial as running on a worker."""
        new_trial = TrialSummary(event.number, "RUNNING", event.params, None, event.step)
        trial = self._trials.get(event.number, new_trial)
        self._trials[event.number] = replace(trial, state="RUNNING", params=event.params)

    def measured(self, event: MilestoneReported) -> None:
        """Record a milestone. A milestone that was reported before is ignored."""
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

    def trial_paused(self, event: TrialPaused) -> None:
        """Let a trial wait at a rung."""
        if (trial := self._trials.get(event.number)) is not None:
            self._trials[event.number] = _waiting(trial)

    def trial_retried(self, event: TrialRetried) -> None:
        """Let a trial wait for another worker. A finalist that is measured again stays complete."""
        self.retried[event.number] = self.retried.get(event.number, 0) + 1
        if (trial := self._trials.get(event.number)) is not None:
            self._trials[event.number] = _waiting(trial)

    def trial_finished(self, event: TrialFinished) -> None:
        """Replace a trial by its final state."""
        self._trials[event.trial.number] = event.trial

    def search_stopped(self, event: SearchStopped) -> None:
        """Record that no further trial begins."""
        self.started = replace(self.started, trials=len(self._trials))
        if event.stop.text not in self.remarks:
            self.remarks.append(event.stop.text)

    def warned(self, event: WorkerWarned) -> None:
        """Record a warning of a worker."""
        self.remarks.append(event.remark)

    def finalist_measured(self, event: FinalistMeasured) -> None:
        """Record a finalist's objective. Trials that were still open by then have been stopped."""
        for number, trial in self._trials.items():
            if trial.state not in _ENDED:
                self._trials[number] = replace(trial, state="FAIL")
        self.unseen[system_name(event)] = event.objective
        self._finalists = event.of

    def finish(self, event: StageFinished) -> None:
        """Record the stage's result."""
        self.finished = event
        self._trials = {trial.number: trial for trial in event.trials}


def _waiting(trial: TrialSummary) -> TrialSummary:
    return replace(trial, state="WAITING") if trial.state == "RUNNING" else trial
