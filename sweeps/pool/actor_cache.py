"""Workers stay warm: what has nothing to do now waits for the next trial, also of another stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

#: More idle workers of a kind than any pool has.
_ALL = 1_000_000
#: A trial that is not placed by then waits for what idle workers hold.
_PATIENCE_SECONDS = 1.0


class WarmWorkers:
    """Has Tune keep idle workers, which it does only for trials that already wait.

    Imports and models are loaded once for each worker. A worker's resources are free for others
    only when it ends, so idle ones end when a trial that needs other resources cannot be placed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: set[Any] = set()
        self._kept: set[Any] = set()
        self._since: dict[Any, float] = {}  # trials without a place

    def know(self, resources: Any) -> None:
        """There is a trial that needs these resources."""
        self._kinds.add(resources)

    def keep(self, controller: Any) -> None:
        """Look what waits, and keep or let go. Private names of Ray 2.60's controller."""
        waiting = self._waiting(controller)
        wanted = {kind for kind in self._kinds if not waiting - {kind}}
        for kind in wanted - self._kept:
            controller._actor_cache.increase_max(kind, _ALL)
        for kind in self._kept - wanted:
            controller._actor_cache.decrease_max(kind, _ALL)
        self._kept = wanted

    def _waiting(self, controller: Any) -> set[Any]:
        """Resources that a trial has waited for."""
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
