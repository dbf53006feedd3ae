"""A plan as data: what each stage takes, how long and how dear the whole is, and how it looks."""

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
    """One stage of a plan.

    `reaching` are the trials expected at each rung and at the end (None: the pruner does not tell
    before). `memory` is the predicted peak of the largest trial in bytes, `share` its part of a
    GPU, `at_once` how many the pool holds. `hours` is for this stage alone in the pool, `source`
    the study that the time of a step is from, or `rough`; both None where nothing is known.
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
    """What a pipeline will take. `price` is of one GPU hour; `machine` what a trial runs on.

    `hours` is along the graph, stages that do not need each other at once; None if one stage's
    is not known.
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
        """Of all stages."""
        return sum(one.trials for one in self.stages)

    @property
    def hours(self) -> Range | None:
        """The longest way through the graph, and no less than all work spread over the pool."""
        ends: dict[str, Range] = {}
        for one in self.stages:
            if one.hours is None:
                return None
            before = [ends[name] for name in one.needs if name in ends]
            begin = Range(*(max((getattr(r, e) for r in before), default=0.0) for e in _ENDS))
            ends[one.stage] = begin + one.hours
        spread = Range()
        for one in self.stages:
            spread += (one.work or Range()) * (1 / one.at_once)
        return Range(
            max(spread.low, *(one.low for one in ends.values())),
            max(spread.high, *(one.high for one in ends.values())),
        )

    @property
    def cost(self) -> Range | None:
        """Of all machines for as long as it lasts; None without a price or hours."""
        if self.price is None or self.hours is None:
            return None
        return self.hours * (self.machines * self.price)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "recipe": self.recipe,
            "machine": self.machine,
            "machines": self.machines,
            "cpus_per_trial": self.cpus,
            "trials": self.trials,
            "stages": [asdict(one) for one in self.stages],
            "hours": _plain(self.hours),
            "price": self.price,
            "cost": _plain(self.cost),
            "notes": list(self.notes),
        }

    def table(self) -> list[RenderableType]:
        """For a terminal: what is searched and where, a row a stage, the whole, what to know."""
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("stage", "trials", "reach steps", "GiB", "GPU", "at once", "time"):
            table.add_column(title, justify="left" if title == "stage" else "right")
        for one in self.stages:
            table.add_row(*_cells(one))
        where = f"{self.machines} {self.machine}" if self.machine != "CPU" else "CPUs"
        head = Text.assemble((self.recipe, "bold"), f": {self.trials} trials on {where}")
        whole = Text.assemble("in all ", (self._whole(), "bold"))
        notes = (Text(note, style="dim") for note in self.notes)
        return [
            Padding(head, (0, 0, 1, 0)),
            table,
            *(Padding(one, (1, 0, 0, 0)) for one in (whole, *notes)),
        ]

    def _whole(self) -> str:
        if self.hours is None:
            return "the time is not known"
        told = _time(self.hours)
        if self.cost is not None:
            told += f", {_between(self.cost)} USD at {self.price:g} USD a GPU hour"
        return told


def _cells(one: StagePlan) -> Iterator[str]:
    yield one.stage
    yield _trials(one)
    yield " ".join(map(str, (*one.rungs, one.steps)))
    yield "" if one.memory is None else f"{one.memory / GIB:.1f}"
    yield f"{one.share:g}" if one.share else ""
    yield str(one.at_once)
    yield "?" if one.hours is None else _time(one.hours)


def _trials(one: StagePlan) -> str:
    """How many are expected at each milestone: `16 ~8 ~5`."""
    if one.reaching is None:
        return f"{one.trials} ?" if one.rungs else str(one.trials)
    return " ".join(
        f"{count:g}" if count == int(count) else f"~{round(count)}" for count in one.reaching
    )


def _time(hours: Range) -> str:
    """In minutes, or hours where it is long."""
    return f"{_between(hours * 60)} min" if hours.high < 3 else f"{_between(hours)} h"


def _between(found: Range) -> str:
    low, high = (_short(value) for value in (found.low, found.high))
    return low if low == high else f"{low} to {high}"


def _short(value: float) -> str:
    """Two digits are more than an estimate has."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.2f}"


def _plain(found: Range | None) -> dict[str, float] | None:
    return None if found is None else asdict(found)
