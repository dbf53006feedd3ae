"""Adapters to Ray Tune: a searcher and a scheduler that leave all decisions to the dispatcher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweeps.pool.actor_cache import WarmWorkers
from sweeps.pool.dispatch import Dispatcher
from sweeps.pool.failures import classify, node_lost, watch_workers
from sweeps.pool.lean import without_tune
from sweeps.pool.trainable import TrialRunner


class Left(Exception):
    """Raised to leave Tune's loop; the cause is in `TuneRun.fatal`."""


class TuneRun:
    """State shared by searcher and scheduler: dispatcher, Tune's controller, the first error."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.fatal: BaseException | None = None
        self._controller: Any = None
        self._warm = WarmWorkers()

    def meet(self, controller: Any, trial: Any) -> None:
        """Handle a new trial of Tune's; the first comes before any worker.

        Uses a private name of Ray 2.60.
        """
        if self._controller is None:
            self._controller = controller._tune_controller
            watch_workers(self._controller)
            without_tune(self._controller, TrialRunner)
        self._warm.know(trial.placement_group_factory)

    def look(self) -> None:
        """Handle requests and revoked tasks; called in each round of Tune's loop.

        Tune places workers afterwards.
        """
        self.safely(self.dispatcher.work.look)
        if self.fatal is not None:
            self._kill([trial.trial_id for trial in self._trials()])
            raise Left
        if revoked_ids := self.dispatcher.revoked():
            self._kill(revoked_ids)
        if self._controller is not None:
            self._warm.keep(self._controller)

    def abandon(self) -> None:
        """End all workers and free their resources, after Tune's loop was interrupted."""
        if self._controller is not None:
            self._controller._actor_manager.cleanup()

    def safely(self, hook: Callable[..., Any], *arguments: Any, otherwise: Any = None) -> Any:
        """Call `hook`; store its error for the next round, as Tune would wrap, print or drop it."""
        try:
            return hook(*arguments)
        except Exception as error:
            self.fatal = self.fatal or error
            return otherwise

    def ended(self, controller: Any, trial: Any) -> None:
        """Handle the end of the worker of a Tune trial."""
        file = trial.pickled_error_file
        error = ray.cloudpickle.loads(Path(file).read_bytes()) if file else None
        begun = trial not in controller._resetting_trials
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
        run = self._run
        run.look()  # Tune calls only this while nothing runs
        next_ = run.safely(run.dispatcher.next, trial_id)
        if next_ is None and run.fatal is None and run.dispatcher.work.finished:
            return Searcher.FINISHED
        return next_

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
        self._run.meet(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Poll, as this is called in each round, and choose as the base class does."""
        self._run.look()
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        run = self._run
        continues = run.safely(run.dispatcher.result, trial.trial_id, result)
        return str(TrialScheduler.CONTINUE if continues else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._run.safely(self._run.ended, tune_controller, trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}
