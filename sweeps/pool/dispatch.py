"""Who runs what: searches hand out, as many at once as the pool has room for."""

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
from sweeps.study.trials import Assignment

#: How often it is looked what machines there are.
_LOOK_SECONDS = 2.0
_ROUNDING = 1e-9


@dataclass
class _Handed:
    source: TrialSource
    task: Task
    beside: bool = False  # others ran while it did


class Dispatcher:
    """What is handed out, by Tune's trial ids, and how much more the pool can take.

    Stages may need different shares of a machine: a trial of one with room for n at once takes
    1/n of the pool. `nodes` lists the machines that are there now.
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
        """The configuration of the next trial; None when there is none, or no room."""
        self._look()
        for source in self.work.sources:
            if not self._has_room(source.job.stage):
                continue
            if (task := source.ask()) is not None:
                self._handed[trial_id] = _Handed(source, task)
                if len(self._handed) > 1:
                    for one in self._handed.values():
                        one.beside = True
                return configuration(source.job, task)
        return None

    def result(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Take in what a worker reports; True if its trial goes on."""
        if (handed := self._handed.get(trial_id)) is None:
            return False
        # It may end the search, whose children are then handed out in its place.
        if handed.source.take(handed.task, result):
            return True
        self._handed.pop(trial_id, None)
        return False

    def ended(self, trial_id: str, end: End) -> None:
        """A worker ended while it had a trial."""
        if (handed := self._handed.get(trial_id)) is None:
            return
        del self._handed[trial_id]
        if end.memory and handed.beside:
            # Too many at once is not the fault of those that Ray chose.
            self._limit = max(1, len(self._handed))
            end = End(end.reason, counts=False, memory=True)
        handed.source.died(handed.task, end)

    def revoked(self) -> list[str]:
        """Ids of what is not to be run any more; it is forgotten."""
        gone = [one for one, had in self._handed.items() if not had.source.holds(had.task)]
        for trial_id in gone:
            del self._handed[trial_id]
        return gone

    def slots(self, stage: str) -> int:
        """How many trials of a stage run at once, if nothing else does."""
        self._look()
        return self._slots(stage)

    def _slots(self, stage: str) -> int:
        room = self.placement.slots(stage, self._nodes)
        return room if self._limit is None else min(room, self._limit)

    def _has_room(self, stage: str) -> bool:
        if self._limit is not None and len(self._handed) >= self._limit:
            return False
        stages = [one.source.job.stage for one in self._handed.values()] + [stage]
        slots = {one: self.placement.slots(one, self._nodes) for one in set(stages)}
        if slots[stage] < 1:
            return False
        # A stage without room has trials on machines that just left: they will fail, and count
        # as a whole pool until then.
        return sum(1 / max(1, slots[one]) for one in stages) <= 1 + _ROUNDING

    def _look(self) -> None:
        if self._clock() - self._looked < _LOOK_SECONDS:
            return
        self._nodes = self._list_nodes()
        if not (sources := self.work.sources):
            return  # nothing can be compared with what is seen now, so it is looked at again
        self._looked = self._clock()
        suitable = sum(self.placement.suits(node) for node in self._nodes)
        now = suitable, self._slots(sources[0].job.stage)
        if self._known not in (None, now):
            self.work.pool_changed(*now)
        self._known = now


def configuration(job: StageJob, task: Task) -> dict[str, Any]:
    """A task as it travels to its worker."""
    kind = "assignment" if isinstance(task, Assignment) else "measurement"
    return {"stage": job.stage, "job": job.model_dump_json(), kind: json.dumps(vars(task))}
