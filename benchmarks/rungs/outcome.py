"""What a pruner keeps and spares, over many orders of the trials."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from align.evaluation.metrics import paired as paired_difference
from benchmarks.rungs.curves import StageCurves
from benchmarks.rungs.replay import BRACKETS, Replay, Search
from benchmarks.rungs.strategies import Strategy


@dataclass(frozen=True)
class Truth:
    """A stage whose configurations are all trained to their end."""

    stage: StageCurves

    @cached_property
    def best(self) -> frozenset[int]:
        """The configurations with the best final objective on validation items: equals, if several.

        The full grid's winner is the lowest of them.
        """
        scores = [self.stage.validation(index) for index in range(len(self.stage.curves))]
        return frozenset(index for index, score in enumerate(scores) if score == max(scores))

    @cached_property
    def as_good(self) -> frozenset[int]:
        """The best configuration on test items, and those that are not shown worse there.

        Shown worse is a paired 95 % interval of the difference to the best that is above 0.
        """
        count = range(len(self.stage.curves))
        best = max(count, key=self.stage.unseen)
        share = self.stage.objective != "mean_reward"

        def low(index: int) -> float:
            tests = [list(self.stage.curves[number].test) for number in (best, index)]
            return paired_difference(tests[0], tests[1], share=share).low

        return frozenset(index for index in count if index == best or low(index) <= 0)

    def regret(self, replay: Replay) -> float:
        """The full grid's winner less the search's on test items, in the objective's unit."""
        winner = max(sorted(replay.completed), key=self.stage.validation)
        return self.stage.unseen(min(self.best)) - self.stage.unseen(winner)

    @property
    def grid_steps(self) -> int:
        """The optimizer steps of a full grid."""
        return self.stage.steps[-1] * len(self.stage.curves)

    @property
    def least_share(self) -> float:
        """The share of a full grid's steps that no pruner can go below without losing the best.

        All reach the first rung, and trial 0 and the best are trained to their end.
        """
        first, last = self.stage.steps[0], self.stage.steps[-1]
        return (first * len(self.stage.curves) + 2 * (last - first)) / self.grid_steps


@dataclass(frozen=True)
class Outcome:
    """Means over all orders.

    `kept_best`: a configuration with the best final objective on validation items completed.
    `kept_as_good`: a configuration completed that is not shown worse on test items than the best
    there. `steps_share`: the steps of a full grid that were taken. `regret`: see `Truth`.
    """

    kept_best: float
    kept_as_good: float
    steps_share: float
    regret: float

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain data, rounded."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def mean_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """The mean of outcomes, of stages for example."""
    columns = [asdict(outcome) for outcome in outcomes]
    return Outcome(**{name: fmean(column[name] for column in columns) for name in columns[0]})


def orders(count: int, configurations: int) -> Iterator[list[int]]:
    """The same `count` orders for all strategies; any configuration may be first."""
    for seed in range(count):
        order = list(range(configurations))
        random.Random(f"order {seed}").shuffle(order)
        yield order


def measure(truth: Truth, strategy: Strategy, metric: str, bracket: str, count: int) -> Outcome:
    """Replay a stage with `count` orders of its configurations."""
    outcomes = []
    for number, order in enumerate(orders(count, len(truth.stage.curves))):
        search = Search(truth.stage, metric, order)
        replay = BRACKETS[bracket](search, strategy(truth.stage, number))
        outcomes.append(
            Outcome(
                float(not truth.best.isdisjoint(replay.completed)),
                float(not truth.as_good.isdisjoint(replay.completed)),
                replay.steps / truth.grid_steps,
                truth.regret(replay),
            )
        )
    return mean_outcome(outcomes)
