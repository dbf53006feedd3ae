"""Ray Tune's two seams, a searcher and a scheduler, over the dispatcher. They decide nothing."""

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
    """Raised out of Tune's loop to leave it; why is in `TuneRun.fatal`."""


class TuneRun:
    """What searcher and scheduler share: the dispatcher, Tune's controller, and what went wrong."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.fatal: BaseException | None = None
        self._controller: Any = None
        self._warm = WarmWorkers()

    def meet(self, controller: Any, trial: Any) -> None:
        """Tune has a new trial; the first comes before any worker. A private name of Ray 2.60."""
        if self._controller is None:
            self._controller = controller._tune_controller
            watch_workers(self._controller)
            without_tune(self._controller, TrialRunner)
        self._warm.know(trial.placement_group_factory)

    def look(self) -> None:
        """Called in each round of Tune's loop, before workers are placed."""
        self.safely(self.dispatcher.work.look)
        if self.fatal is not None:
            self._kill([trial.trial_id for trial in self._trials()])
            raise Left
        if gone := self.dispatcher.revoked():
            self._kill(gone)
        if self._controller is not None:
            self._warm.keep(self._controller)

    def abandon(self) -> None:
        """End all workers and give back what they hold, after Tune's loop was broken off."""
        if self._controller is not None:
            self._controller._actor_manager.cleanup()

    def safely(self, hook: Callable[..., Any], *arguments: Any, otherwise: Any = None) -> Any:
        """Run what Tune would wrap, print or swallow an error of; the next round raises it."""
        try:
            return hook(*arguments)
        except Exception as error:
            self.fatal = self.fatal or error
            return otherwise

    def ended(self, controller: Any, trial: Any) -> None:
        """A worker ended with this trial of Tune's."""
        file = trial.pickled_error_file
        error = ray.cloudpickle.loads(Path(file).read_bytes()) if file else None
        begun = trial not in controller._resetting_trials
        self.dispatcher.ended(trial.trial_id, classify(error, begun, node_lost))

    def _trials(self) -> list[Any]:
        return [] if self._controller is None else list(self._controller.get_live_trials())

    def _kill(self, gone: list[str]) -> None:
        """End workers in the middle of a trial: asked to stop, they would go on to a milestone."""
        for trial in self._trials():
            if trial.trial_id not in gone:
                continue
            if (actor := trial.temporary_state.ray_actor) is not None:
                ray.kill(actor)  # Tune hears of it as of any death
            elif trial.status == Trial.PENDING:
                self._controller.stop_trial(trial)


class StudySearcher(Searcher):
    """Hands out what the open searches have."""

    def __init__(self, run: TuneRun) -> None:
        super().__init__()
        self._run = run

    def set_search_properties(self, *_arguments: Any, **_more: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        """A configuration, None for "later", or FINISHED."""
        run = self._run
        run.look()  # Tune stays in here for as long as nothing runs
        next_ = run.safely(run.dispatcher.next, trial_id)
        if next_ is None and run.fatal is None and run.dispatcher.work.finished:
            return Searcher.FINISHED
        return next_

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the scheduler has told everything."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the study is the state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its configuration; locks and connections stay here


class StudyScheduler(FIFOScheduler):
    """Passes on each result and each death. Tune asks it before the searcher."""

    def __init__(self, run: TuneRun) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._run = run

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._run.meet(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Nobody in particular, but it is asked in each round."""
        self._run.look()
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        run = self._run
        goes_on = run.safely(run.dispatcher.result, trial.trial_id, result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._run.safely(self._run.ended, tune_controller, trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}
