"""Events of a sweep, for displays. Times are in seconds, steps in optimizer steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from align.evaluation.comparison import Compared
from align.space.spaces import Value
from sweeps.finalists import Standing
from sweeps.trials import Milestone, TrialSummary
from sweeps.worth.stop_rule import EarlyStop


@dataclass(frozen=True)
class StageStarted:
    """A search starts or is continued; several may be open at once.

    `earlier` has the trials of earlier attempts, `notes` remarks for the user on its set-up,
    `change` how the search differs from the line's earlier search. `rung_metric` is None where
    trials are compared by the objective. `items` is how many validation items are behind an
    objective that is a share of them, else 0; `usd_per_hour` the price of an hour of a trial, if
    there is a price.
    """

    line: str
    stage: str
    run: int
    trials: int
    steps: int
    objective: str
    minimised: bool
    concurrent: int
    rung_metric: str | None = None
    budget_seconds: float | None = None
    seconds_before: float = 0.0
    earlier: tuple[TrialSummary, ...] = ()
    notes: tuple[str, ...] = ()
    change: str = ""
    items: int = 0
    usd_per_hour: float | None = None


@dataclass(frozen=True)
class TrialStarted:
    """A trial is handed to a worker; `step` is the optimizer step that it continues from."""

    stage: str
    number: int
    params: dict[str, Value]
    step: int = 0


@dataclass(frozen=True)
class MilestoneReported:
    """A trial reported the metrics of a milestone; `rung_metric` as in `StageStarted`."""

    stage: str
    number: int
    milestone: Milestone
    rung_metric: str | None = None


@dataclass(frozen=True)
class TrialFinished:
    """A trial ended as COMPLETE, PRUNED or FAIL."""

    stage: str
    trial: TrialSummary


@dataclass(frozen=True)
class TrialPaused:
    """A trial waits at a rung until the other trials have reached it; its worker takes another."""

    stage: str
    number: int


@dataclass(frozen=True)
class TrialRetried:
    """A trial's worker was lost; another worker continues from the newest checkpoint."""

    stage: str
    number: int
    reason: str


@dataclass(frozen=True)
class WorkerWarned:
    """A worker warned of something; each text comes once for a stage, from its first trial.

    `number` is None where the parent or the base was measured.
    """

    stage: str
    number: int | None
    text: str

    @property
    def remark(self) -> str:
        """The warning with the trial that gave it."""
        giver = "a worker" if self.number is None else f"trial {self.number}"
        return f"{giver} warned: {self.text}"


@dataclass(frozen=True)
class SearchStopped:
    """`sweep.stop_when` lets no further trial begin; running trials finish."""

    stage: str
    stop: EarlyStop


@dataclass(frozen=True)
class FinalistMeasured:
    """A finalist was measured on unseen items; there are `of` finalists.

    `number` is None for the parent and the base.
    """

    stage: str
    number: int | None
    objective: float
    name: str = ""
    of: int = 0


@dataclass(frozen=True)
class PoolChanged:
    """Machines joined or left: now there are `nodes`, with room for `slots` trials at once."""

    nodes: int
    slots: int


@dataclass(frozen=True)
class StageFinished:
    """A search has its result: the version `name`. `reused` if the search had finished before.

    `best` is the chosen trial. `gain` compares it with the default on the same validation items, if
    the rows of both were stored; `unseen` has the results of the finalists on unseen items.
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
    | TrialPaused
    | TrialRetried
    | TrialFinished
    | WorkerWarned
    | SearchStopped
    | FinalistMeasured
    | PoolChanged
    | StageFinished
)
OnEvent = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Ignore the event."""
