"""What the pool is given to do, and what it tells of it. Imports no Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sweeps.pool.stage_job import Measurement, StageJob
from sweeps.study.trials import Assignment

Task = Assignment | Measurement


@dataclass(frozen=True)
class End:
    """Why a worker ended. `counts`: what it ran may be at fault. `memory`: Ray ended it to save it.

    What does not count is begun again without limit.
    """

    reason: str
    counts: bool
    memory: bool = False


class TrialSource(Protocol):
    """One open search."""

    @property
    def job(self) -> StageJob: ...
    def ask(self) -> Task | None:
        """What to run next; None when there is nothing just now."""

    def take(self, task: Task, result: Mapping[str, Any]) -> bool:
        """Take in what a worker reports of a task; True if it goes on."""

    def died(self, task: Task, end: End) -> None:
        """The task's worker ended before the task did."""

    def holds(self, task: Task) -> bool:
        """Whether the task is still to be run; not so once its search was stopped."""


class Work(Protocol):
    """All that is to be run."""

    @property
    def sources(self) -> Sequence[TrialSource]:
        """Searches that are open now; what comes first is handed out first."""

    @property
    def finished(self) -> bool:
        """Whether nothing will come any more."""

    def look(self) -> None:
        """Called often: do what another process asked for. What it raises ends the run."""

    def pool_changed(self, nodes: int, slots: int) -> None:
        """Machines joined or left."""
