"""Hands out the tasks of open searches, as many at once as the pool has room for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.pool import Node, read_pool
from sweeps.pool.placement import Placement
from sweeps.pool.protocols import End, Task, TrialSource, Work
from sweeps.pool.stage_job import StageJob
from sweeps.trials import Assignment

#: Seconds between two listings of the machines in the pool.
_LOOK_SECONDS = 2.0
_ROUNDING = 1e-9


@dataclass
class _Handed:
    source: TrialSource
    task: Task
    beside: bool = False  # other tasks ran at the same time


class Dispatcher:
    """Tracks the tasks that are handed out, by Tune's trial ids, and the room left in the pool.

    Stages may need different shares of a machine: if a stage has room for n trials at once,
    a trial of it takes 1/n of the pool. `nodes` lists the current machines.
    """

    def __init__(
        self,
        work: Work,
        placement: Placement,
        nodes: Callable[[], Sequence[Node]] = read_pool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.work = work
        self.placement = placement
        self._list_nodes, self._clock = nodes, clock
        self._handed: dict[str, _Handed] = {}
        self._limit = placement.max_concurrent
        self._nodes: Sequence[Node] = ()
        self._looked = -_LOOK_SECONDS
        self._known: tuple[int, int] | None = None

    def next(self, trial_id: str) -> dict[str, Any] | None:
        """The configuration of the next task; None if there is no task or no room."""
        self._look()
        for source in self.work.sources:
            if not self._has_room(source.job.stage):
                continue
            if (task := source.ask()) is not None:
                self._handed[trial_id] = _Handed(source, task)
                if len(self._handed) > 1:
                    for handed in self._handed.values():
                        handed.beside = True
                return configuration(source.job, task)
        return None

    def result(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Handle a result that a worker reports; True if its trial continues."""
        if (handed := self._handed.get(trial_id)) is None:
            return False
        # The result may end the search; then stages that build on it are opened in its place.
        if handed.source.take(handed.task, result):
            return True
        self._handed.pop(trial_id, None)
        return False

    def ended(self, trial_id: str, end: End) -> None:
        """Handle the end of a worker that had a task."""
        if (handed := self._handed.get(trial_id)) is None:
            return
        del self._handed[trial_id]
        if end.memory and handed.beside:
            # Too many tasks ran at once; the task whose worker Ray chose to kill is not at fault.
            self._limit = max(1, len(self._handed))
            end = End(end.reason, counts=False, memory=True)
        handed.source.died(handed.task, end)

    def revoked(self) -> list[str]:
        """Remove the tasks that should not run any more; returns their trial ids."""
        revoked_ids = [
            trial_id
            for trial_id, handed in self._handed.items()
            if not handed.source.holds(handed.task)
        ]
        for trial_id in revoked_ids:
            del self._handed[trial_id]
        return revoked_ids

    def slots(self, stage: str) -> int:
        """How many trials of a stage run at once if nothing else runs."""
        self._look()
        return self._slots(stage)

    def _slots(self, stage: str) -> int:
        room = self.placement.slots(stage, self._nodes)
        return room if self._limit is None else min(room, self._limit)

    def _has_room(self, stage: str) -> bool:
        if self._limit is not None and len(self._handed) >= self._limit:
            return False
        stages = [handed.source.job.stage for handed in self._handed.values()] + [stage]
        slots = {name: self.placement.slots(name, self._nodes) for name in set(stages)}
        if slots[stage] < 1:
            return False
        # A stage without room has trials on machines that just left. They will fail; until then
        # each counts as a whole pool.
        return sum(1 / max(1, slots[name]) for name in stages) <= 1 + _ROUNDING

    def _look(self) -> None:
        if self._clock() - self._looked < _LOOK_SECONDS:
            return
        self._nodes = self._list_nodes()
        if not (sources := self.work.sources):
            return  # without an open search no slots can be counted, so the next call lists again
        self._looked = self._clock()
        suitable = sum(self.placement.suits(node) for node in self._nodes)
        counts = suitable, self._slots(sources[0].job.stage)
        if self._known not in (None, counts):
            self.work.pool_changed(*counts)
        self._known = counts


def configuration(job: StageJob, task: Task) -> dict[str, Any]:
    """The configuration with which a task is sent to its worker."""
    kind = "assignment" if isinstance(task, Assignment) else "measurement"
    return {"stage": job.stage, "job": job.model_dump_json(), kind: json.dumps(vars(task))}
