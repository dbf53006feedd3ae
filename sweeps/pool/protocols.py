"""Interfaces between the pool and the searches whose tasks it runs. Imports no Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sweeps.pool.stage_job import Measurement, StageJob
from sweeps.trials import Assignment

Task = Assignment | Measurement


@dataclass(frozen=True)
class End:
    """Why a worker ended. `counts`: its task may be at fault. `memory`: killed to free memory.

    Tasks whose end does not count are retried without limit.
    """

    reason: str
    counts: bool
    memory: bool = False


class TrialSource(Protocol):
    """One open search."""

    @property
    def job(self) -> StageJob: ...
    def ask(self) -> Task | None:
        """The next task to run; None if there is none now."""

    def take(self, task: Task, result: Mapping[str, Any]) -> bool:
        """Handle a result that a worker reports for a task; True if the task continues."""

    def died(self, task: Task, end: End) -> None:
        """Handle the loss of the task's worker."""

    def holds(self, task: Task) -> bool:
        """Whether the task should still run; False once its search was stopped."""


class Work(Protocol):
    """All searches of a run."""

    @property
    def sources(self) -> Sequence[TrialSource]:
        """Searches that are open now, in the order in which their tasks are handed out."""

    @property
    def finished(self) -> bool:
        """Whether no search is open and none will be opened."""

    def look(self) -> None:
        """Called often: handle requests from other processes. An exception ends the run."""

    def pool_changed(self, nodes: int, slots: int) -> None:
        """Called when machines joined or left."""
