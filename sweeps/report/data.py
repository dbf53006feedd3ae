"""The contents of a report, for each stage and for the whole run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from align.evaluation.metrics import key_of
from align.space import Choice, Interval
from align.space.spaces import Space, Value
from sweeps.answer import answer_lines, cost
from sweeps.finalists import Standing
from sweeps.progress import short
from sweeps.trials import TrialSummary, best_of


@dataclass(frozen=True)
class Parameter:
    """A searched field: its dotted path, the title it has in a plot, and its space."""

    name: str
    title: str
    space: Space

    @property
    def log(self) -> bool:
        """Whether it is drawn on a logarithmic axis."""
        return isinstance(self.space, Interval) and self.space.log

    @property
    def choices(self) -> tuple[Value, ...]:
        """All values of a `choice` space, sorted if they are numbers; empty for other spaces."""
        return self.space.ordered() if isinstance(self.space, Choice) else ()


@dataclass(frozen=True)
class Importance:
    """Shares of the searched fields by dotted path; they sum to 1.

    `told` says which trials they were computed from. With too few trials, `shares` is empty and
    `told` says so.
    """

    shares: dict[str, float]
    told: str


@dataclass(frozen=True)
class Rung:
    """Counts of the trials that reached a point of a stage: its start, a rung, or its end.

    `title` names the point. `went_on` trials continued beyond it, `pruned` trials were stopped at
    it. `lost` trials failed after reaching it, or are still open.
    """

    title: str
    went_on: int
    pruned: int = 0
    lost: int = 0

    @property
    def reached(self) -> int:
        """Number of trials that reached it."""
        return self.went_on + self.pruned + self.lost


@dataclass(frozen=True)
class StageReport:
    """The search of a stage, as a report shows it.

    `state` and `run` are the sweep's. `objective` is the recipe's, `minimised` its direction.
    `trials` are those that have begun; `totals` maps the number of each to the optimizer steps of
    the complete trial. `wanted` is the planned number of trials, `chosen` the number of the winner.
    `parent` names the adapter that the stage builds on, `version` the adapter that it published.
    `remarks` says what became of its rows, and what its workers warned of. `usd_per_hour` is the
    price of an hour of a trial, if one was given.
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
    remarks: tuple[str, ...] = ()
    usd_per_hour: float | None = None

    @property
    def answer(self) -> list[str]:
        """What the search gained, how sure that is, and what it cost; empty without finalists."""
        if self.standing is None:
            return []
        return answer_lines(self.standing, cost(self.seconds, self.trials, self.usd_per_hour))

    @property
    def measure(self) -> str:
        """The name of the objective among the metrics."""
        return key_of(self.objective, self.method)

    @property
    def measured(self) -> list[TrialSummary]:
        """Trials with an objective, of whatever state."""
        return [trial for trial in self.trials if trial.objective is not None]

    @property
    def failed(self) -> list[TrialSummary]:
        """Trials that ended without a result."""
        return [trial for trial in self.trials if trial.state == "FAIL"]

    @property
    def best(self) -> TrialSummary | None:
        """The winning trial; while there is no winner, the best on validation items so far."""
        winner = next((trial for trial in self.trials if trial.number == self.chosen), None)
        return winner or best_of(self.trials, self.minimised)

    def count(self, state: str) -> int:
        """How many trials are in this state."""
        return sum(trial.state == state for trial in self.trials)

    def better(self, value: float, other: float) -> bool:
        """Whether `value` is a better objective than `other`."""
        return value < other if self.minimised else value > other


@dataclass(frozen=True)
class SweepReport:
    """The contents of a report's page. `made` is the time of the report, as text.

    `waiting` are stages that have not begun, `about` facts of the run by title, `packages` versions
    by name. `recipe` is YAML.
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
    """The searched fields. A title is the field's short name if that is unique, else its path."""
    brief = {name: _brief(name) for name in space}
    titles = list(brief.values())
    return tuple(
        Parameter(name, brief[name] if titles.count(brief[name]) == 1 else name, space[name])
        for name in space
    )


def best_so_far(stage: StageReport) -> list[tuple[int, float]]:
    """(trial number, objective) of each complete, feasible trial better than all before it."""
    best: list[tuple[int, float]] = []
    for trial in stage.trials:
        if trial.state != "COMPLETE" or not trial.feasible or trial.objective is None:
            continue
        if not best or stage.better(trial.objective, best[-1][1]):
            best.append((trial.number, trial.objective))
    return best


def survival(stage: StageReport) -> list[Rung]:
    """Counts of trials at the start, at each rung, and at the end."""
    longest = max(stage.totals.values(), default=0)
    steps = [step for step in stage.rungs if step < longest]
    return [
        _rung("begun", 0, stage.trials),
        *(_rung(f"step {step}", step, _at(stage, step)) for step in steps),
        Rung("complete", stage.count("COMPLETE")),
    ]


def _rung(title: str, step: int, trials: Sequence[TrialSummary]) -> Rung:
    went_on = sum(trial.step > step for trial in trials)
    pruned = sum(trial.state == "PRUNED" and trial.step == step for trial in trials)
    return Rung(title, went_on, pruned, len(trials) - went_on - pruned)


def _at(stage: StageReport, step: int) -> list[TrialSummary]:
    """Trials measured at a rung, without those that end at this step: it is no rung of theirs."""
    return [
        trial for trial in stage.trials if step in trial.rungs and step < stage.totals[trial.number]
    ]


def steps_saved(stage: StageReport) -> tuple[int, int]:
    """Optimizer steps that pruning saved, and the steps that all trials would take without it."""
    saved = sum(
        stage.totals[trial.number] - trial.step for trial in stage.trials if trial.state == "PRUNED"
    )
    return saved, sum(stage.totals.values())


def ranks(stage: StageReport) -> dict[int, int]:
    """Place of each trial that has an objective, 1 for the best; complete trials come first."""
    sign = 1.0 if stage.minimised else -1.0

    def order(trial: TrialSummary) -> tuple[Any, ...]:
        done = trial.state == "COMPLETE"
        return (
            not done,
            not trial.feasible,
            -trial.step,
            sign * (trial.objective or 0.0),
            trial.number,
        )

    ordered = sorted(stage.measured, key=order)
    return {trial.number: place for place, trial in enumerate(ordered, start=1)}


def _brief(name: str) -> str:
    brief = short(name)
    return brief if brief != name else name.rsplit(".", 1)[-1]
