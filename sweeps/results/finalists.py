"""The best few of a search on items that it never saw: who is measured, and who has won. Pure.

The best of many measurements on the same validation items is partly luck, the more so the more
trials there were. So the best few, the default, the parent and the base are measured again on the
`test` split; the winner is chosen and reported there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from align.errors import AdapterError
from align.evaluation.comparison import compare_examples
from align.evaluation.examples import Example
from align.evaluation.metrics import key_of
from align.evaluation.statistics import paired, paired_auc
from align.recipe import StageConfig
from sweeps.results.baseline import DEFAULT
from sweeps.study.trials import TrialSummary, ranked

SPLIT = "test"

#: Objectives that hold a policy against its parent, so the parent has none itself.
_AGAINST_PARENT = {"implicit_pair_accuracy", "label_auc", "win_rate"}


@dataclass(frozen=True)
class FinalistDifference:
    """Mean difference of one system against another on the same items, with a 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Entry:
    """One system on unseen items: its objective with a 95 % interval, None where no rows tell it.

    `number` is the trial's, None for the parent and the base.
    """

    name: str
    number: int | None
    objective: float
    low: float | None
    high: float | None
    metrics: dict[str, float]
    feasible: bool
    against_default: FinalistDifference | None = None
    against_parent: FinalistDifference | None = None


@dataclass(frozen=True)
class Standing:
    """How the finalists stand: `chosen` is the trial that won, `searched_best` the search's best.

    `measure` is the name of the objective among the metrics; `items` how many were compared.
    """

    split: str
    items: int
    measure: str
    minimised: bool
    chosen: int
    searched_best: int
    systems: tuple[Entry, ...]

    def plain(self) -> dict[str, Any]:
        """The standing as JSON knows it."""
        return {**asdict(self), "systems": [asdict(one) for one in self.systems]}

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Standing:
        """What `plain` wrote."""
        return cls(**{**content, "systems": tuple(_entry(one) for one in content["systems"])})


@dataclass(frozen=True)
class SystemResult:
    """What one system was measured to do, and its rows; `number` as in `Entry`."""

    name: str
    number: int | None
    metrics: Mapping[str, float]
    rows: Sequence[Example] = field(default=())

    @property
    def objective(self) -> float:
        """NaN where the objective has no meaning for the system."""
        return self.metrics.get("objective", math.nan)


def finalists(trials: Sequence[TrialSummary], minimised: bool, count: int) -> list[TrialSummary]:
    """The best `count` trials, and the default if it is complete; by number.

    Nobody if `count` is 0: then the best on validation items has won.
    """
    if count == 0:
        return []
    best = ranked(trials, minimised)[:count]
    default = [one for one in trials if one.number == DEFAULT and one.state == "COMPLETE"]
    return sorted(
        {one.number: one for one in (*best, *default)}.values(), key=lambda one: one.number
    )


def beside(config: StageConfig, has_parent: bool) -> list[str]:
    """Which of `parent` and `base` the stage's objective has a meaning for.

    A reward model's belongs to its head, which neither has; a policy ties with itself.
    """
    if config.method == "reward":
        return []
    measure = key_of(config.objective, config.method)
    parent = has_parent and measure not in _AGAINST_PARENT
    # Without a parent, it is the base that such an objective is held against.
    base = has_parent or measure not in _AGAINST_PARENT
    return ["parent"] * parent + ["base"] * base


def standing(
    measured: Sequence[SystemResult],
    trials: Sequence[TrialSummary],
    config: StageConfig,
    searched_best: int,
) -> Standing | None:
    """Who has won, and how clearly. None if no trial has an objective on unseen items."""
    measure = key_of(config.objective, config.method)
    found = [one for one in measured if math.isfinite(one.objective)]
    feasible = {one.name: _feasible(one, trials) for one in found}
    chosen = _choose(found, feasible, config.minimised)
    if chosen is None:
        return None
    default = next((one for one in found if one.number == DEFAULT), None)
    parent = next((one for one in found if one.name == "parent"), None)
    systems = tuple(
        Entry(
            one.name,
            one.number,
            one.objective,
            *_interval(one, measure),
            {name: value for name, value in one.metrics.items() if math.isfinite(value)},
            feasible[one.name],
            _against(one, default, measure),
            _against(one, parent, measure),
        )
        for one in found
    )
    items = len(_values(chosen, measure))
    return Standing(
        SPLIT, items, measure, config.minimised, chosen.number or 0, searched_best, systems
    )


def _choose(
    found: Sequence[SystemResult], feasible: Mapping[str, bool], minimised: bool
) -> SystemResult | None:
    """The best feasible trial. If none holds its constraints here, the one that breaks them least.

    All have held them on validation items, so the least broken is the one to trust most.
    """
    sign = 1.0 if minimised else -1.0
    trials = [one for one in found if one.number is not None]

    def order(one: SystemResult) -> tuple[float, float, int]:
        broken = 0.0 if feasible[one.name] else one.metrics.get("violation", math.inf)
        return broken, sign * one.objective, one.number or 0

    return min(trials, key=order, default=None)


def _feasible(one: SystemResult, trials: Sequence[TrialSummary]) -> bool:
    if "violation" in one.metrics:
        return one.metrics["violation"] <= 0
    return all(trial.feasible for trial in trials if trial.number == one.number)


def _values(one: SystemResult, measure: str) -> list[float]:
    if measure == "label_auc":
        return [row.numbers["log_ratio"] for row in one.rows if row.items == "labels"]
    return [row.numbers[measure] for row in one.rows if measure in row.numbers]


def _interval(one: SystemResult, measure: str) -> tuple[float | None, float | None]:
    values = _values(one, measure)
    if not values:
        return None, None
    if measure == "label_auc":  # against a system that tells nothing, whose area is one half
        liked = [row.numbers["liked"] for row in one.rows if row.items == "labels"]
        gain, shift = paired_auc(values, [0.0] * len(values), liked), 0.5
    else:
        gain, shift = paired(values, [0.0] * len(values)), 0.0
    if not math.isfinite(gain.low):
        return None, None
    return gain.low + shift, gain.high + shift


def _against(
    one: SystemResult, other: SystemResult | None, measure: str
) -> FinalistDifference | None:
    if other is None or other is one or not one.rows or not other.rows:
        return None
    try:
        compared = compare_examples(one.rows, other.rows)
    except AdapterError:  # rows that have nothing in common tell nothing, and break nothing
        return None
    gain = next((two.gain for two in compared if two.measure == measure), None)
    if gain is None or not math.isfinite(gain.low):
        return None
    return FinalistDifference(gain.difference, gain.low, gain.high)


def _entry(content: Mapping[str, Any]) -> Entry:
    sides = {
        name: FinalistDifference(**content[name]) if content[name] else None
        for name in ("against_default", "against_parent")
    }
    return Entry(**{**content, **sides})
