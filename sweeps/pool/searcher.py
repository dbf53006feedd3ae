"""Adapters to Ray Tune: a searcher and a scheduler that leave all decisions to the dispatcher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cluster.compat.ray_tune import end_workers, start_workers_plainly, translate_errors
from sweeps.pool.dispatch import Dispatcher
from sweeps.pool.failures import classify, node_lost, worker_ended
from sweeps.pool.idle_workers import IdleWorkers


class Left(Exception):
    """Raised to leave Tune's loop; the cause is in `TuneRun.fatal`."""


class TuneRun:
    """State shared by searcher and scheduler: dispatcher, idle workers, the first error."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.fatal: BaseException | None = None
        self._controller: Any = None
        self._idle = IdleWorkers()
        self._started: set[str] = set()
        self._handed_out = False

    def meet(self, controller: Any) -> None:
        """Handle a new trial of Tune's; the first comes before any worker."""
        if self._controller is None:
            self._controller = controller
            start_workers_plainly(controller)
            translate_errors(controller, worker_ended)

    def next(self, trial_id: str) -> Any:
        """The next task, None for "later", or FINISHED.

        While workers are idle there is one task in a round, for which a worker is then reused.
        """
        self.look()  # Tune calls only this while nothing runs
        if self._idle and self._handed_out:
            return None
        task = self.safely(self.dispatcher.next, trial_id)
        self._handed_out = task is not None
        if task is None and self.fatal is None and self.dispatcher.work.finished:
            return Searcher.FINISHED
        return task

    def begin_round(self) -> None:
        """Poll and assign idle workers; called in each round of Tune's loop.

        Tune places workers afterwards.
        """
        self.look()
        self._handed_out = False
        if self._controller is None:
            return
        if self.dispatcher.work.finished:
            self._idle.release(self._controller)
        else:
            self._idle.assign(self._controller)

    def look(self) -> None:
        """Handle requests and revoked tasks."""
        self.safely(self.dispatcher.work.look)
        if self.fatal is not None:
            self._kill([trial.trial_id for trial in self._trials()])
            raise Left
        if revoked_ids := self.dispatcher.revoked():
            self._kill(revoked_ids)

    def abandon(self) -> None:
        """End all workers and free their resources, after Tune's loop was interrupted."""
        if self._controller is not None:
            end_workers(self._controller)

    def started(self, trial: Trial) -> None:
        """Handle the start of a Tune trial by its worker, new or reused."""
        self._started.add(trial.trial_id)

    def result(self, trial: Trial, result: dict[str, Any]) -> str:
        """Handle a result of a Tune trial; after its last one its worker is idle."""
        if self.safely(self.dispatcher.result, trial.trial_id, result):
            return TrialScheduler.CONTINUE
        self._idle.add(trial)
        return TrialScheduler.NOOP

    def safely(self, hook: Callable[..., Any], *arguments: Any, otherwise: Any = None) -> Any:
        """Call `hook`; store its error for the next round, as Tune would wrap, print or drop it."""
        try:
            return hook(*arguments)
        except Exception as error:
            self.fatal = self.fatal or error
            return otherwise

    def ended(self, trial: Trial) -> None:
        """Handle the end of the worker of a Tune trial."""
        file = trial.pickled_error_file
        error = ray.cloudpickle.loads(Path(file).read_bytes()) if file else None
        # A worker that is reused is the trial's before it has begun the trial.
        is_new = trial.temporary_state.ray_actor is None
        begun = is_new or trial.trial_id in self._started
        self.dispatcher.ended(trial.trial_id, classify(error, begun, node_lost))

    def _trials(self) -> list[Any]:
        return [] if self._controller is None else list(self._controller.get_live_trials())

    def _kill(self, trial_ids: list[str]) -> None:
        """Kill the workers of these trials: a stop request would only act at the next milestone."""
        for trial in self._trials():
            if trial.trial_id not in trial_ids:
                continue
            if (actor := trial.temporary_state.ray_actor) is not None:
                ray.kill(actor)  # Tune notices it like any other death
            elif trial.status == Trial.PENDING:
                self._controller.stop_trial(trial)


class StudySearcher(Searcher):
    """Hands out the tasks of the open searches."""

    def __init__(self, run: TuneRun) -> None:
        super().__init__()
        self._run = run

    def set_search_properties(self, *_arguments: Any, **_keywords: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        """A configuration, None for "later", or FINISHED."""
        return self._run.next(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the scheduler has reported everything."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: the state is in the study."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its configuration; locks and connections cannot be pickled


class StudyScheduler(FIFOScheduler):
    """Passes each result and each lost worker on. Tune calls it before the searcher."""

    def __init__(self, run: TuneRun) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._run = run

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._run.meet(tune_controller)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Begin a round of Tune's loop, and choose as the base class does."""
        self._run.begin_round()
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self._run.result(trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._run.safely(self._run.ended, trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class TrialStarts(tune.Callback):
    """Passes on which trials their workers have begun."""

    def __init__(self, run: TuneRun) -> None:
        self._run = run

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._run.started(trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}
