"""What happens in a sweep, for whoever shows it. Times are in seconds, steps in optimizer steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from align.evaluation.comparison import Compared
from align.space.spaces import Value
from sweeps.results.finalists import Standing
from sweeps.study.trials import Milestone, TrialSummary


@dataclass(frozen=True)
class StageStarted:
    """A search begins or goes on; several may be open at once.

    `earlier` has the trials of former attempts, `notes` what a user is to know of its set-up.
    """

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
    notes: tuple[str, ...] = ()


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
class TrialRetried:
    """A trial's worker ended before the trial did; another goes on from its newest checkpoint."""

    stage: str
    number: int
    reason: str


@dataclass(frozen=True)
class FinalistMeasured:
    """A finalist was measured on unseen items, one of `of`.

    `number` is None for the parent and the base.
    """

    stage: str
    number: int | None
    objective: float
    name: str = ""
    of: int = 0


@dataclass(frozen=True)
class PoolChanged:
    """Machines joined or left: `nodes` are there now, with room for `slots` trials at once."""

    nodes: int
    slots: int


@dataclass(frozen=True)
class StageFinished:
    """A search has its result: the version `name`. `reused` if it was there already.

    `best` is the trial that was chosen. `gain` holds it against the default on the same validation
    items, where both kept their rows; `unseen` is how the finalists stand on unseen ones.
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
    unseen: Standing | None = None


Event = (
    StageStarted
    | TrialStarted
    | MilestoneReported
    | TrialRetried
    | TrialFinished
    | FinalistMeasured
    | PoolChanged
    | StageFinished
)
OnEvent = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Show nothing."""
