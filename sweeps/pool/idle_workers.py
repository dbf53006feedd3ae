"""Reuse of workers: idle workers wait for later trials, also those of other stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.util import placement_group_table

#: Seconds after which a trial without a worker counts as waiting for the resources of idle workers.
_PATIENCE_SECONDS = 1.0


def is_unplaced(resources: PlacementGroupFactory) -> bool:
    """Whether Ray has not found room yet for a placement group with these resources."""
    return any(
        group["state"] == "PENDING" and list(group["bundles"].values()) == resources.bundles
        for group in placement_group_table().values()
    )


class IdleWorkers:
    """Workers without a task. To Ray Tune each still runs the trial that it has finished.

    By itself, Tune ends a worker when its trial stops, unless another trial already waits for it.
    So a finished trial stops only when its worker is wanted: by a new trial with the same
    resources, which then reuses it, or for its resources, which a worker frees only when it ends.
    So imports and models are loaded once per worker.
    """

    def __init__(
        self,
        unplaced: Callable[[PlacementGroupFactory], bool] = is_unplaced,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unplaced, self._clock = unplaced, clock
        self._idle: list[Trial] = []
        #: Trials without a worker, and the time of the round in which that was first seen.
        self._waiting: dict[Trial, float] = {}

    def __len__(self) -> int:
        return len(self._idle)

    def add(self, trial: Trial) -> None:
        """Keep the worker of a finished trial."""
        self._idle.append(trial)

    def assign(self, controller: Any) -> None:
        """Give up idle workers that are wanted. Called in each round, before Tune places trials.

        At most one worker is passed on in a round, as Tune holds only one that no trial waits for.
        """
        pending = [trial for trial in controller.get_live_trials() if trial.status == Trial.PENDING]
        now, known = self._clock(), self._waiting
        # A trial that is about to reuse a worker is pending, too.
        self._waiting = {
            trial: known.get(trial, now)
            for trial in pending
            if trial.temporary_state.ray_actor is None
        }
        kinds = {trial.placement_group_factory for trial in pending}
        for trial in self._waiting:
            resources: Any = trial.placement_group_factory
            # While trials with other resources are pending, Tune holds workers only for trials that
            # it has tried to place, which it does at the end of a round.
            if (kinds == {resources} or trial in known) and (idle := self._with(resources)):
                self._stop(controller, idle)
                return
        if self._idle and any(self._is_late(trial, now) for trial in self._waiting):
            self.release(controller)

    def release(self, controller: Any) -> None:
        """End all idle workers."""
        for trial in tuple(self._idle):
            self._stop(controller, trial)

    def _with(self, resources: PlacementGroupFactory) -> Trial | None:
        matching = (trial for trial in self._idle if trial.placement_group_factory == resources)
        return next(matching, None)

    def _is_late(self, trial: Trial, now: float) -> bool:
        """Whether the trial waits for resources; otherwise its worker is starting."""
        resources: Any = trial.placement_group_factory
        return now - self._waiting[trial] > _PATIENCE_SECONDS and self._unplaced(resources)

    def _stop(self, controller: Any, trial: Trial) -> None:
        self._idle.remove(trial)
        controller.stop_trial(trial)
