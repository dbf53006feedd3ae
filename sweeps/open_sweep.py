"""One attempt at one sweep: run trials, measure finalists, register the best adapter."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from align.evaluation.metrics import key_of
from align.recipe.metric_schedule import rung_metric
from cluster.database.tables import Sweep
from cluster.registry import Registry
from cluster.storage import Storage
from sweeps.cleanup import Leftovers
from sweeps.driver import Driver
from sweeps.errors import SweepError, SweepLocked
from sweeps.events import (
    Event,
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
from sweeps.finalists import Standing
from sweeps.pool.protocols import End, Task
from sweeps.pool.stage_job import Measurement, StageJob, trial_key
from sweeps.results.baseline import gain_over_default
from sweeps.results.finalist_queue import Finals
from sweeps.results.sweep_result import SweepResult, no_result
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import FAILED, FINISHED, RUNNING, STOPPED, read, update
from sweeps.trials import DEFAULT, Assignment, Milestone, TrialSummary, best_of
from sweeps.worth.next_trial import measure_of

STOPPED_REASON = "stopped on request"
#: The most different warnings of a stage's workers that are passed on.
MOST_WARNINGS = 20


class OpenSweep:
    """A sweep that this driver runs. `result` is set when it finishes.

    The study of its row is created, continued, or returned unchanged if it has finished.
    """

    def __init__(self, driver: Driver, job: StageJob, row: Sweep, change: str = "") -> None:
        """Lock the study. SweepLocked if another process drives it.

        `change` says how the search differs from the earlier search of its line.
        """
        self._driver, self._job = driver, job
        self._config = job.recipe.stages[job.stage]
        self._storage, self._since = Storage(driver.settings), time.monotonic()
        self.result: SweepResult | None = None
        self._finals: Finals | None = None
        self._stopped, self._warnings = False, list[str]()
        self._measure, self._stop_told = measure_of(job.recipe, job.stage), False
        self._row, self._change = row.id, change
        self._leftovers = Leftovers(driver.settings, row.study, self._config)
        self._bridge = StudySession(driver.settings, driver.database, row.study, self._config)
        try:
            self._bridge.stop_when.judge_by(self._measure)
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def job(self) -> StageJob:
        """The job that is sent to its workers."""
        return self._job

    @property
    def line(self) -> str:
        """`<recipe>/<stage>`."""
        return self._job.recipe.line(self._job.stage)

    @property
    def ended(self) -> bool:
        """Whether there is a result, or the search was stopped before any trial was complete."""
        return self.result is not None or (self._stopped and self._finals is None)

    def ask(self) -> Task | None:
        """The next trial, or the next finalist to measure; None if there is nothing to run now."""
        if self.ended:
            return None
        if ended := self._bridge.decide_rung():
            self._trials_ended(ended)
        if self._finals is not None:
            return self._finals.ask()
        if (next_ := self._bridge.ask()) is not None:
            self._emit(TrialStarted(self._job.stage, next_.number, next_.params, next_.decided))
        return next_

    def holds(self, task: Task) -> bool:
        """Whether a task that was handed out should still run."""
        return not self._stopped or isinstance(task, Measurement)

    def take(self, task: Task, result: Mapping[str, Any]) -> bool:
        """Handle a worker's result; True if its trial continues. SweepLocked without the lock."""
        self._bridge.check_lock()
        self._warn(task, result)
        if isinstance(task, Measurement):
            assert self._finals is not None  # measurements come from it
            self._finals.result(task, result)
            self._save()
            continues = False
        elif (reason := result.get("failure")) is not None:
            # Before any trial was measured, the error (a bad recipe, data set or model) is
            # likely to hit all trials.
            if (error := result.get("error")) is not None and not self._bridge.started:
                raise error
            self._bridge.fail(task.number, reason)
            continues = False
        else:
            continues = self._measured(task, Milestone(**json.loads(result["milestone"])))
        if not continues and isinstance(task, Assignment) and self._bridge.paused(task.number):
            self._emit(TrialPaused(self._job.stage, task.number))
        elif not continues:
            self._task_ended(task)
        return continues

    def died(self, task: Task, end: End) -> None:
        """Handle the loss of the task's worker: retry the task, or end it as failed."""
        self._bridge.check_lock()
        if isinstance(task, Measurement):
            assert self._finals is not None  # measurements come from it
            self._finals.died(task, end)
        elif self._bridge.died(task.number, end.reason, end.counts):
            self._bridge.release(task.number)
            self._emit(TrialRetried(self._job.stage, task.number, end.reason))
        else:
            self._task_ended(task)

    def stop(self) -> None:
        """End all open trials as FAIL and measure finalists; without any, end with no result."""
        if self.ended or self._stopped:
            return
        self._stopped = True
        if self._finals is None:
            self._bridge.stop_open(STOPPED_REASON)
            if best_of(self._bridge.trials(), self._config.minimised) is None:
                self._save(state=STOPPED, request="")
                self.close()
                return
            self._go_on()
        self._save(request="")

    def finish_without_workers(self) -> SweepResult | None:
        """Stop the sweep and register the best trial; None if no trial is complete.

        Finalists that were not measured yet are not measured on unseen items any more.
        """
        if not self.ended:
            self.stop()
        if not self.ended:
            assert self._finals is not None  # stop() has set it
            self._finish(self._finals.standing(self._bridge.trials()))
        return self.result

    def close(self) -> None:
        """Release the study; without a result, it can be continued."""
        self._bridge.close()

    def leave(self) -> None:
        """Release an unfinished sweep, so that another driver can continue it."""
        with suppress(SweepLocked):  # another driver has it already
            self._bridge.check_lock()
            if not self.ended and read(self._driver.database, self._row).state == RUNNING:
                self._save(state=STOPPED)
        self.close()

    def _start(self) -> None:
        row = read(self._driver.database, self._row)  # another driver may just have finished it
        trials = tuple(self._bridge.trials())
        if row.state == FINISHED and self._bridge.finished:
            self._return(row, trials, reused=True)
            return
        self._save(state=RUNNING)
        recipe, config, stage = self._job.recipe, self._config, self._job.stage
        started = StageStarted(
            line=row.line,
            stage=stage,
            run=row.run,
            trials=self._bridge.wanted,
            steps=recipe.steps(stage),
            objective=config.objective,
            rung_metric=rung_metric(config),
            minimised=config.minimised,
            concurrent=max(1, min(self._bridge.wanted, self._driver.slots(stage))),
            budget_seconds=config.budget_seconds,
            seconds_before=row.seconds,
            earlier=trials,
            notes=tuple(filter(None, (self._change, *self._bridge.notes))),
            change=self._change,
            items=self._measure.items,
        )
        self._emit(started)
        self._tell_early_stop()
        self._go_on()

    def _measured(self, task: Assignment, milestone: Milestone) -> bool:
        continues = self._bridge.report(task.number, milestone)
        self._save()  # a killed driver loses only the time since the last milestone
        metric = rung_metric(self._config)
        self._emit(MilestoneReported(self._job.stage, task.number, milestone, metric))
        return continues

    def _task_ended(self, task: Task) -> None:
        if isinstance(task, Assignment):
            self._trials_ended([task.number])
        else:
            self._go_on()

    def _trials_ended(self, numbers: Sequence[int]) -> None:
        self._leftovers.trial_ended(self._bridge.trials())
        for number in numbers:
            self._emit(TrialFinished(self._job.stage, self._bridge.summary(number)))
        self._tell_early_stop()
        self._go_on()

    def _go_on(self) -> None:
        """Start on the finalists once all trials have ended; finish once they are all measured."""
        if self._finals is None and (self._stopped or self._bridge.finished):
            self._finals = Finals(self._job, self._storage, self._bridge, self._driver.on_event)
        if self._finals is not None and self._finals.done:
            self._finish(self._finals.standing(self._bridge.trials()))

    def _finish(self, standing: Standing | None) -> None:
        trials = tuple(self._bridge.trials())
        best = best_of(trials, self._config.minimised)
        if best is None:
            self._save(state=FAILED, request="")
            raise SweepError(no_result(self._job.study, self._job.stage, trials))
        chosen = best.number if standing is None else standing.chosen
        folder = self._storage.get_folder(trial_key(self._job.study, chosen, "published"))
        version = Registry(self._driver.database, self._storage).register(self.line, folder)
        row = self._save(
            state=FINISHED,
            best_trial=chosen,
            adapter_id=version.adapter_id,
            unseen=None if standing is None else standing.plain(),
            request="",
        )
        finalists = () if standing is None else standing.systems
        numbers = [system.number for system in finalists if system.number is not None]
        self._leftovers.finished(trials, {chosen, DEFAULT, best.number, *numbers})
        self._return(row, trials)

    def _return(self, row: Sweep, trials: tuple[TrialSummary, ...], reused: bool = False) -> None:
        versions = Registry(self._driver.database, self._storage).versions(row.line)
        version = next(entry for entry in versions if entry.adapter_id == row.adapter_id)
        best = next(trial for trial in trials if trial.number == row.best_trial)
        metric_key = key_of(self._config.objective, self._config.method)
        gain = gain_over_default(self._storage, row.study, best.number, metric_key)
        unseen = Standing.read(row.unseen) if row.unseen else None
        self.result = SweepResult(
            row.line, row.study, row.run, version, trials, best, row.seconds, gain, unseen
        )
        self.close()
        finished = StageFinished(
            row.line,
            row.stage,
            version.name,
            best,
            trials,
            row.seconds,
            self._config.budget_seconds,
            reused,
            gain,
            unseen,
        )
        self._emit(finished)

    def _warn(self, task: Task, result: Mapping[str, Any]) -> None:
        for text in json.loads(result.get("warnings", "[]")):
            if text not in self._warnings and len(self._warnings) < MOST_WARNINGS:
                self._warnings.append(text)
                self._emit(WorkerWarned(self._job.stage, task.number, text))

    def _tell_early_stop(self) -> None:
        stop = self._bridge.stop_when.decision
        if stop is not None and not self._stop_told:
            self._stop_told = True
            self._emit(SearchStopped(self._job.stage, stop))

    def _emit(self, event: Event) -> None:
        self._driver.on_event(event)

    def _save(self, **fields: object) -> Sweep:
        """Update the row, and add the time since the last update to it."""
        last_saved, self._since = self._since, time.monotonic()
        return update(self._driver.database, self._row, self._since - last_saved, **fields)
