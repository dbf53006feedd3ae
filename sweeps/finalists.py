"""The best few trials of a search on unseen items: which are measured, and which has won. Pure.

The best of many measurements on the same validation items is partly luck, the more so the more
trials there were. So the best few, the default, the parent and the base are measured again on the
`test` split; the winner is chosen and reported there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from align.errors import AdapterError
from align.evaluation.comparison import compare_examples, item_values
from align.evaluation.estimates import estimate
from align.evaluation.examples import Example
from align.evaluation.metrics import is_share, key_of
from align.evaluation.statistics import Paired, bound_or_none, wilson
from align.recipe import StageConfig
from sweeps.trials import DEFAULT, TrialSummary, ranked
from sweeps.winner_probability import probability_better

SPLIT = "test"

#: Objectives that compare a policy with its parent, so that the parent itself has no value.
_AGAINST_PARENT = {"implicit_pair_accuracy", "label_auc", "win_rate"}


@dataclass(frozen=True)
class Entry:
    """A system on unseen items: its objective on `items` of them, with a 95 % interval.

    The interval is None without rows, and where all values are equal and have no known bounds.
    `number` is the trial's, None for the parent and the base. The differences are to other systems
    on the same items.
    """

    name: str
    number: int | None
    objective: float
    low: float | None
    high: float | None
    metrics: dict[str, float]
    feasible: bool
    against_default: Paired | None = None
    against_parent: Paired | None = None
    against_base: Paired | None = None
    items: int | None = None


@dataclass(frozen=True)
class Standing:
    """The standing of the finalists. `chosen` is the trial that won.

    `searched_best` is the search's best trial, on validation items. `measure` is the name of the
    objective among the metrics; `items` how many were compared. `probability` says how likely the
    challenger is really better than the default (see `probability_better`); None without the rows
    of both, and in standings of earlier versions.
    """

    split: str
    items: int
    measure: str
    minimised: bool
    chosen: int
    searched_best: int
    systems: tuple[Entry, ...]
    probability: float | None = None

    @property
    def winner(self) -> Entry:
        """The system that was chosen."""
        return next(system for system in self.systems if system.number == self.chosen)

    @property
    def challenger(self) -> Entry | None:
        """The winner, or the best other trial if the default has won; None if there is none.

        Trials that break a constraint are no challengers of a default that keeps them.
        """
        if self.chosen != DEFAULT:
            return self.winner
        sign = 1.0 if self.minimised else -1.0
        others = [
            system
            for system in self.systems
            if system.number not in (None, DEFAULT) and system.feasible == self.winner.feasible
        ]
        return min(others, key=lambda system: sign * system.objective, default=None)

    def plain(self) -> dict[str, Any]:
        """The standing as JSON."""
        return {**asdict(self), "systems": [_plain(system) for system in self.systems]}

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Standing:
        """A standing from what `plain` wrote."""
        measure, items = content["measure"], content["items"]
        systems = tuple(_entry(system, measure, items) for system in content["systems"])
        return cls(**{**content, "systems": systems})


@dataclass(frozen=True)
class SystemResult:
    """The metrics of a measured system, and its rows; `number` as in `Entry`."""

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

    No trials if `count` is 0: then the best on validation items has won.
    """
    if count == 0:
        return []
    best = ranked(trials, minimised)[:count]
    default = [trial for trial in trials if trial.number == DEFAULT and trial.state == "COMPLETE"]
    return sorted(
        {trial.number: trial for trial in (*best, *default)}.values(),
        key=lambda trial: trial.number,
    )


def beside(config: StageConfig, has_parent: bool) -> list[str]:
    """Which of `parent` and `base` the stage's objective has a meaning for.

    A reward model's objective needs its head, which neither has; a policy would tie with itself.
    """
    if config.training_method.trains_reward_model:
        return []
    measure = key_of(config.objective, config.method)
    parent = has_parent and measure not in _AGAINST_PARENT
    # Without a parent, such an objective compares the policy with the base.
    base = has_parent or measure not in _AGAINST_PARENT
    return ["parent"] * parent + ["base"] * base


def standing(
    measured: Sequence[SystemResult],
    trials: Sequence[TrialSummary],
    config: StageConfig,
    searched_best: int,
) -> Standing | None:
    """The standing of the measured systems. None if no trial has an objective on unseen items."""
    measure = key_of(config.objective, config.method)
    results = [result for result in measured if math.isfinite(result.objective)]
    feasible = {result.name: _feasible(result, trials) for result in results}
    chosen = _choose(results, feasible, config.minimised)
    if chosen is None:
        return None
    default = next((result for result in results if result.number == DEFAULT), None)
    parent, base = (
        next((result for result in results if result.name == name), None)
        for name in ("parent", "base")
    )
    estimates = {result.name: estimate(result.rows, measure) for result in results}
    systems = tuple(
        Entry(
            result.name,
            result.number,
            result.objective,
            bound_or_none(estimates[result.name].low),
            bound_or_none(estimates[result.name].high),
            {name: value for name, value in result.metrics.items() if math.isfinite(value)},
            feasible[result.name],
            _against(result, default, measure),
            _against(result, parent, measure),
            _against(result, base, measure),
            estimates[result.name].count or None,
        )
        for result in results
    )
    items = estimates[chosen.name].count
    reached = Standing(
        SPLIT, items, measure, config.minimised, chosen.number or 0, searched_best, systems
    )
    return replace(reached, probability=_probability(reached, results))


def _probability(reached: Standing, results: Sequence[SystemResult]) -> float | None:
    """`probability_better` of the challenger, which was the best of the trials that might win."""
    challenger = reached.challenger
    if challenger is None or challenger.against_default is None:
        return None
    rows = {result.number: result.rows for result in results if result.number is not None}
    default = item_values(rows[DEFAULT], reached.measure)
    differences = {
        number: {item: value - default[item] for item, value in values.items() if item in default}
        for number, numbered in rows.items()
        for values in [item_values(numbered, reached.measure)]
    }
    others = [
        differences[system.number]
        for system in reached.systems
        if system.number not in (None, DEFAULT, challenger.number)
        and system.feasible == challenger.feasible
    ]
    own = differences[challenger.number or 0]
    return probability_better(challenger.against_default, reached.minimised, own, others)


def _choose(
    results: Sequence[SystemResult], feasible: Mapping[str, bool], minimised: bool
) -> SystemResult | None:
    """The best feasible trial. If no trial is feasible here, the trial with the least violation.

    All trials were feasible on validation items, so the least violation is trusted most.
    """
    sign = 1.0 if minimised else -1.0
    trials = [result for result in results if result.number is not None]

    def order(result: SystemResult) -> tuple[float, float, int]:
        broken = 0.0 if feasible[result.name] else result.metrics.get("violation", math.inf)
        return broken, sign * result.objective, result.number or 0

    return min(trials, key=order, default=None)


def _feasible(result: SystemResult, trials: Sequence[TrialSummary]) -> bool:
    if "violation" in result.metrics:
        return result.metrics["violation"] <= 0
    return all(trial.feasible for trial in trials if trial.number == result.number)


def _against(result: SystemResult, other: SystemResult | None, measure: str) -> Paired | None:
    if other is None or other is result or not result.rows or not other.rows:
        return None
    try:
        comparisons = compare_examples(result.rows, other.rows)
    except AdapterError:  # the rows have no items in common, which is no error here
        return None
    gains = (comparison.gain for comparison in comparisons if comparison.measure == measure)
    return next(gains, None)


_SIDES = ("against_default", "against_parent", "against_base")


def _plain(system: Entry) -> dict[str, Any]:
    gains = {name: getattr(system, name) for name in _SIDES}
    sides = {name: None if gain is None else gain.plain() for name, gain in gains.items()}
    return {**asdict(system), **sides}


def _entry(content: Mapping[str, Any], measure: str, items: int) -> Entry:
    """An entry from JSON. Those of earlier versions have no `items`, and bounds by resampling.

    Of these, a share gets the interval that it has today.
    """
    sides = {name: _gain(content.get(name), items) for name in _SIDES}
    low, high = content["low"], content["high"]
    if "items" not in content and low is not None and is_share(measure):
        low, high = wilson(content["objective"] * items, items)
    return Entry(**{**content, **sides, "low": low, "high": high})


def _gain(content: Mapping[str, Any] | None, items: int) -> Paired | None:
    if content is None:
        return None
    low, high = content["low"], content["high"]
    if low is None or low == high:  # equal where equal differences were resampled
        low = high = math.nan
    return Paired(**{"count": items, **content, "low": low, "high": high})
