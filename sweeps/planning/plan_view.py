"""A plan as data: the needs of each stage, the time and cost of the pipeline, and its table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from align.memory.duration import Range
from align.memory.machines import GIB

if TYPE_CHECKING:
    from rich.console import RenderableType

_ENDS = ("low", "high")


@dataclass(frozen=True)
class StagePlan:
    """A stage of a plan.

    `reaching` are the trials expected at each rung and at the end (None: the pruner is not
    predictable). `memory` is the predicted peak of the largest trial in bytes, `share` its part of
    a GPU, `at_once` how many trials the pool holds. `hours` is for this stage alone in the pool,
    `source` the study that the time of a step is from, or `rough`; `hours`, `work` and `source`
    are None where the time is not known.
    """

    stage: str
    method: str
    needs: tuple[str, ...]
    trials: int
    finalists: int
    steps: int
    rungs: tuple[int, ...]
    reaching: tuple[float, ...] | None
    memory: int | None
    share: float
    at_once: int
    hours: Range | None
    work: Range | None
    source: str | None


@dataclass(frozen=True)
class PipelinePlan:
    """A plan of all stages. `price` is of a GPU hour; `machine` is what a trial runs on.

    `hours` is along the graph, where stages that do not need each other run at once. It is None if
    the hours of a stage are not known.
    """

    recipe: str
    machine: str
    machines: int
    cpus: int
    stages: tuple[StagePlan, ...]
    price: float | None
    notes: tuple[str, ...]

    @property
    def trials(self) -> int:
        """Trials of all stages together."""
        return sum(stage.trials for stage in self.stages)

    @property
    def hours(self) -> Range | None:
        """The longest path through the graph, and no less than all work spread over the pool."""
        ends: dict[str, Range] = {}
        for stage in self.stages:
            if stage.hours is None:
                return None
            parent_ends = [ends[name] for name in stage.needs if name in ends]
            begin = Range(
                *(max((getattr(hours, end) for hours in parent_ends), default=0.0) for end in _ENDS)
            )
            ends[stage.stage] = begin + stage.hours
        spread = Range()
        for stage in self.stages:
            spread += (stage.work or Range()) * (1 / stage.at_once)
        return Range(
            max(spread.low, *(hours.low for hours in ends.values())),
            max(spread.high, *(hours.high for hours in ends.values())),
        )

    @property
    def cost(self) -> Range | None:
        """Cost of all machines for the pipeline's hours; None without a price or hours."""
        if self.price is None or self.hours is None:
            return None
        return self.hours * (self.machines * self.price)

    def plain(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "recipe": self.recipe,
            "machine": self.machine,
            "machines": self.machines,
            "cpus_per_trial": self.cpus,
            "trials": self.trials,
            "stages": [asdict(stage) for stage in self.stages],
            "hours": _plain(self.hours),
            "price": self.price,
            "cost": _plain(self.cost),
            "notes": list(self.notes),
        }

    def table(self) -> list[RenderableType]:
        """The plan for a terminal: recipe and machines, a row for each stage, totals and notes."""
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("stage", "trials", "reach steps", "GiB", "GPU", "at once", "time"):
            table.add_column(title, justify="left" if title == "stage" else "right")
        for stage in self.stages:
            table.add_row(*_cells(stage))
        machines = f"{self.machines} {self.machine}" if self.machine != "CPU" else "CPUs"
        head = Text.assemble((self.recipe, "bold"), f": {self.trials} trials on {machines}")
        whole = Text.assemble("in all ", (self._whole(), "bold"))
        notes = (Text(note, style="dim") for note in self.notes)
        return [
            Padding(head, (0, 0, 1, 0)),
            table,
            *(Padding(text, (1, 0, 0, 0)) for text in (whole, *notes)),
        ]

    def _whole(self) -> str:
        if self.hours is None:
            return "the time is not known"
        text = _time(self.hours)
        if self.cost is not None:
            text += f", {_between(self.cost)} USD at {self.price:g} USD a GPU hour"
        return text


def _cells(stage: StagePlan) -> Iterator[str]:
    yield stage.stage
    yield _trials(stage)
    yield " ".join(map(str, (*stage.rungs, stage.steps)))
    yield "" if stage.memory is None else f"{stage.memory / GIB:.1f}"
    yield f"{stage.share:g}" if stage.share else ""
    yield str(stage.at_once)
    yield "?" if stage.hours is None else _time(stage.hours)


def _trials(stage: StagePlan) -> str:
    """The trials expected at each milestone: `16 ~8 ~5`."""
    if stage.reaching is None:
        return f"{stage.trials} ?" if stage.rungs else str(stage.trials)
    return " ".join(
        f"{count:g}" if count == int(count) else f"~{round(count)}" for count in stage.reaching
    )


def _time(hours: Range) -> str:
    """The time in minutes, or in hours from three hours on."""
    return f"{_between(hours * 60)} min" if hours.high < 3 else f"{_between(hours)} h"


def _between(span: Range) -> str:
    low, high = (_short(value) for value in (span.low, span.high))
    return low if low == high else f"{low} to {high}"


def _short(value: float) -> str:
    """A figure with about two digits; an estimate is no more exact."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.2f}"


def _plain(span: Range | None) -> dict[str, float] | None:
    return None if span is None else asdict(span)
