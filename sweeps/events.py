"""What happens in a sweep, for whoever shows it. Times are in seconds, steps in optimizer steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from align.recipe.space import Value
from align.stages.evaluation.comparison import Compared
from sweeps.study.trials import Milestone, TrialSummary


@dataclass(frozen=True)
class StageStarted:
    """A search begins or goes on; `earlier` has the trials of former attempts."""

    line: str
    stage: str
    run: int
    trials: int
    steps: int
    objective: str
    minimised: bool
    concurrent: int
    budget_seconds: float | None = None
    seconds_before: float = 0.0
    earlier: tuple[TrialSummary, ...] = ()


@dataclass(frozen=True)
class TrialStarted:
    """A trial is handed to a worker; `step` is where it goes on."""

    stage: str
    number: int
    params: dict[str, Value]
    step: int = 0


@dataclass(frozen=True)
class MilestoneReported:
    """A trial was measured."""

    stage: str
    number: int
    milestone: Milestone


@dataclass(frozen=True)
class TrialFinished:
    """A trial ended as COMPLETE, PRUNED or FAIL."""

    stage: str
    trial: TrialSummary


@dataclass(frozen=True)
class StageFinished:
    """A search has its result: the version `name`. `reused` if it was there already.

    `gain` holds the best against the default on the same items, where both kept their rows.
    """

    line: str
    stage: str
    name: str
    best: TrialSummary
    trials: tuple[TrialSummary, ...]
    seconds: float
    budget_seconds: float | None = None
    reused: bool = False
    gain: Compared | None = None


Event = StageStarted | TrialStarted | MilestoneReported | TrialFinished | StageFinished
OnEvent = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Show nothing."""
