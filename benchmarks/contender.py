"""What every engine under measurement offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from benchmarks.cases import Case, EngineName
from benchmarks.workload import Workload


@dataclass(frozen=True)
class Outcome:
    """A run: seconds from the first submission to the last token, and what was written.

    `completions` are in request order, those of one request together. `waits` are seconds from
    submission to the first token of each, where the engine tells.
    """

    seconds: float
    completions: list[list[int]]
    waits: list[float] | None = None


class Contender(Protocol):
    """An engine. `prepare` is not timed by anyone; `run` times itself."""

    @property
    def name(self) -> EngineName:
        """How rows name it."""
        ...

    def prepare(self, case: Case) -> None:
        """Have ready what the case's runs need: weights and adapters."""
        ...

    def run(self, case: Case, workload: Workload) -> Outcome:
        """Complete all requests of a workload of this case."""
        ...

    def close(self) -> None:
        """Let go of processes and memory."""
        ...
