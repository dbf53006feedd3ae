"""Reuse of workers: idle workers are kept for later trials, also those of other stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

#: More idle workers with the same resources than any pool has.
_ALL = 1_000_000
#: Seconds after which an unplaced trial counts as waiting for the resources of idle workers.
_PATIENCE_SECONDS = 1.0


class WarmWorkers:
    """Makes Tune keep idle workers, which by itself it does only for trials that already wait.

    So imports and models are loaded once per worker. A worker frees its resources only when it
    ends, so idle workers end when a trial that needs other resources cannot be placed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: set[Any] = set()
        self._kept: set[Any] = set()
        self._since: dict[
            Any, float
        ] = {}  # trials not placed yet: the time when that was first seen

    def know(self, resources: Any) -> None:
        """Register the resources that a trial needs."""
        self._kinds.add(resources)

    def keep(self, controller: Any) -> None:
        """Keep idle workers or let them end, depending on waiting trials.

        Uses private names of Ray 2.60's controller.
        """
        waiting = self._waiting(controller)
        to_keep = {resources for resources in self._kinds if not waiting - {resources}}
        for resources in to_keep - self._kept:
            controller._actor_cache.increase_max(resources, _ALL)
        for resources in self._kept - to_keep:
            controller._actor_cache.decrease_max(resources, _ALL)
        self._kept = to_keep

    def _waiting(self, controller: Any) -> set[Any]:
        """Resources for which a trial has waited longer than `_PATIENCE_SECONDS`."""
        manager, actors = controller._actor_manager, controller._trial_to_actor
        unplaced = [
            trial
            for trial in controller._pending_trials
            if trial in actors and not manager.is_actor_started(actors[trial])
        ]
        now = self._clock()
        self._since = {trial: self._since.get(trial, now) for trial in unplaced}
        late = [trial for trial, since in self._since.items() if now - since > _PATIENCE_SECONDS]
        return {trial.placement_group_factory for trial in late}
