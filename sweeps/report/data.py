"""What a report tells of a stage, and of a run as a whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from align.space.spaces import Space, Value
from sweeps.progress import short
from sweeps.results.finalists import Standing
from sweeps.study.trials import TrialSummary, best_of


@dataclass(frozen=True)
class Parameter:
    """A searched field: its dotted path, the title it has in a plot, and its space."""

    name: str
    title: str
    space: Space

    @property
    def log(self) -> bool:
        """Whether it is drawn on a logarithmic axis."""
        return self.space.kind == "loguniform" or (self.space.kind == "int" and self.space.log)

    @property
    def choices(self) -> tuple[Value, ...]:
        """All values of a `choice` space, sorted where they are numbers; else nothing."""
        values = self.space.values
        if any(isinstance(one, str | bool) for one in values):
            return values
        return tuple(sorted(values, key=float))


@dataclass(frozen=True)
class Importance:
    """The share of each parameter by dotted path (they sum to 1), and `told`: of which trials.

    `shares` is empty where there are too few trials; then `told` says so.
    """

    shares: dict[str, float]
    told: str


@dataclass(frozen=True)
class Rung:
    """What became of the trials that came to a point: `went_on` to the next, or `pruned` there.

    `lost` failed later, or are on their way. `title` names the point.
    """

    title: str
    went_on: int
    pruned: int = 0
    lost: int = 0

    @property
    def reached(self) -> int:
        """How many came to it."""
        return self.went_on + self.pruned + self.lost


@dataclass(frozen=True)
class StageReport:
    """One search, as a report tells it.

    `state` and `run` are the sweep's; `objective` is the recipe's, `minimised` its direction.
    `trials` are those that were begun, `totals` the optimizer steps of each one whole by number.
    `chosen` is the trial that won. `parent` is what the stage builds on, `version` what it became.
    """

    stage: str
    line: str
    run: int
    state: str
    method: str
    objective: str
    minimised: bool
    parameters: tuple[Parameter, ...]
    trials: tuple[TrialSummary, ...]
    rungs: tuple[int, ...]
    totals: dict[int, int]
    wanted: int
    importance: Importance
    chosen: int | None = None
    standing: Standing | None = None
    version: str = ""
    parent: str = ""
    reward_model: str = ""
    seconds: float = 0.0

    @property
    def measured(self) -> list[TrialSummary]:
        """Trials with an objective, of whatever state."""
        return [one for one in self.trials if one.objective is not None]

    @property
    def failed(self) -> list[TrialSummary]:
        """Trials that ended without a result."""
        return [one for one in self.trials if one.state == "FAIL"]

    @property
    def best(self) -> TrialSummary | None:
        """The trial that won; while there is no winner, the best on validation items so far."""
        won = next((one for one in self.trials if one.number == self.chosen), None)
        return won or best_of(self.trials, self.minimised)

    def count(self, state: str) -> int:
        """How many trials are in this state."""
        return sum(one.state == state for one in self.trials)

    def better(self, one: float, other: float) -> bool:
        """Whether the first of two objectives is the better one."""
        return one < other if self.minimised else one > other


@dataclass(frozen=True)
class SweepReport:
    """All that one page tells. `made` is when, in words; `waiting` are stages not begun.

    `about` are facts of the run by title, `packages` versions by name, `recipe` is YAML.
    """

    name: str
    state: str
    made: str
    base: str
    stages: tuple[StageReport, ...]
    recipe: str
    packages: dict[str, str]
    waiting: tuple[str, ...] = ()
    about: dict[str, str] = field(default_factory=dict)


def parameters(space: Mapping[str, Space]) -> tuple[Parameter, ...]:
    """The searched fields by dotted path. A title is short where that tells them apart."""
    brief = {name: _brief(name) for name in space}
    titles = list(brief.values())
    return tuple(
        Parameter(name, brief[name] if titles.count(brief[name]) == 1 else name, space[name])
        for name in space
    )


def best_so_far(stage: StageReport) -> list[tuple[int, float]]:
    """By number of trial, the best complete and feasible objective up to it."""
    found: list[tuple[int, float]] = []
    for one in stage.trials:
        if one.state != "COMPLETE" or not one.feasible or one.objective is None:
            continue
        if not found or stage.better(one.objective, found[-1][1]):
            found.append((one.number, one.objective))
    return found


def survival(stage: StageReport) -> list[Rung]:
    """From the beginning over each rung to the end."""
    longest = max(stage.totals.values(), default=0)
    steps = [step for step in stage.rungs if step < longest]
    return [
        _rung("begun", 0, stage.trials),
        *(_rung(f"step {step}", step, _at(stage, step)) for step in steps),
        Rung("complete", stage.count("COMPLETE")),
    ]


def _rung(title: str, step: int, there: Sequence[TrialSummary]) -> Rung:
    went_on = sum(one.step > step for one in there)
    pruned = sum(one.state == "PRUNED" and one.step == step for one in there)
    return Rung(title, went_on, pruned, len(there) - went_on - pruned)


def _at(stage: StageReport, step: int) -> list[TrialSummary]:
    """Those measured at a rung; for a shorter trial it may be the end, which is no rung."""
    return [one for one in stage.trials if step in one.rungs and step < stage.totals[one.number]]


def steps_saved(stage: StageReport) -> tuple[int, int]:
    """Optimizer steps that pruned trials did not take, and those that all trials would take."""
    saved = sum(
        stage.totals[one.number] - one.step for one in stage.trials if one.state == "PRUNED"
    )
    return saved, sum(stage.totals.values())


def ranks(stage: StageReport) -> dict[int, int]:
    """Place of each trial with an objective, best first; complete ones come before the others."""
    sign = 1.0 if stage.minimised else -1.0

    def order(one: TrialSummary) -> tuple[Any, ...]:
        done = one.state == "COMPLETE"
        return not done, not one.feasible, -one.step, sign * (one.objective or 0.0), one.number

    ordered = sorted(stage.measured, key=order)
    return {one.number: place for place, one in enumerate(ordered, start=1)}


def _brief(name: str) -> str:
    brief = short(name)
    return brief if brief != name else name.rsplit(".", 1)[-1]
