"""The pruners that are compared: Alignery's, and Optuna's as the product sets them up."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from align.recipe import StageConfig, load_recipe
from benchmarks.rungs.curves import StageCurves
from benchmarks.rungs.recordings import RECIPE
from benchmarks.rungs.replay import Decisions
from sweeps.study.paired_pruning import PairedOptions, RungResult, passing
from sweeps.study.pruners import Pruning

#: As in the recipe of `alignery bench sweep`.
REDUCTION_FACTOR = 3

Strategy = Callable[[StageCurves, int], Decisions]


class PairedDecisions:
    """Alignery's pruner: a trial ends if it is shown worse than the best at its rung."""

    def __init__(self, rungs: int, options: PairedOptions) -> None:
        """For trials of `rungs` rungs."""
        self._rungs, self._options = rungs, options
        self._results: list[dict[int, RungResult]] = [{} for _ in range(rungs)]
        self._passing: list[frozenset[int] | None] = [None] * rungs

    def report(self, number: int, rung: int, values: Sequence[float]) -> None:
        """See `Decisions`."""
        items = {str(index): value for index, value in enumerate(values)}
        self._results[rung][number] = RungResult(items)
        self._passing[rung] = None

    def passes(self, number: int, rung: int) -> bool:
        """See `Decisions`."""
        passed = self._passing[rung]
        if passed is None:
            passed = passing(self._results[rung], False, self._rungs, self._options)
            self._passing[rung] = passed
        return number in passed

    def end(self, number: int, objective: float | None) -> None:
        """See `Decisions`; nothing depends on it."""


class OptunaDecisions:
    """A pruner of Optuna's in a study in memory, by the mean value of a trial's items."""

    def __init__(self, pruning: Pruning, stage: StageCurves, name: str) -> None:
        """`name` is the study's; Hyperband draws each trial's bracket by it."""
        self._pruning, self._steps = pruning, stage.steps
        self._study: Any = optuna.create_study(
            study_name=name, direction="maximize", sampler=optuna.samplers.RandomSampler(0)
        )
        self._trials = [self._study.ask() for _ in stage.curves]

    def report(self, number: int, rung: int, values: Sequence[float]) -> None:
        """See `Decisions`."""
        resource = self._pruning.resource(rung, self._steps[rung])
        self._trials[number].report(fmean(values), resource)

    def passes(self, number: int, rung: int) -> bool:
        """See `Decisions`."""
        self._study.pruner = self._pruning.make()
        return not self._trials[number].should_prune()

    def end(self, number: int, objective: float | None) -> None:
        """See `Decisions`."""
        state = TrialState.PRUNED if objective is None else TrialState.COMPLETE
        self._study.tell(number, objective, state=state)


class WilcoxonDecisions:
    """Optuna's `WilcoxonPruner` in a study for each rung, whose steps are the items.

    At a rung it compares a trial with the best that has reached it, item by item.
    """

    def __init__(self, rungs: int) -> None:
        """For trials of `rungs` rungs."""
        with warnings.catch_warnings():  # that the pruner is experimental
            warnings.simplefilter("ignore")
            self._pruner = optuna.pruners.WilcoxonPruner()
        self._studies: list[Any] = [
            optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
            for _ in range(rungs)
        ]
        self._reported: dict[tuple[int, int], Any] = {}

    def report(self, number: int, rung: int, values: Sequence[float]) -> None:
        """See `Decisions`."""
        items = dict(enumerate(values))
        trial = create_trial(value=fmean(values), intermediate_values=items)
        self._studies[rung].add_trial(trial)
        self._reported[number, rung] = trial

    def passes(self, number: int, rung: int) -> bool:
        """See `Decisions`."""
        with warnings.catch_warnings():  # of scipy, where all differences are 0
            warnings.simplefilter("ignore")
            return not self._pruner.prune(self._studies[rung], self._reported[number, rung])

    def end(self, number: int, objective: float | None) -> None:
        """See `Decisions`; nothing depends on it."""


def paired(options: PairedOptions) -> Strategy:
    """Alignery's pruner with these options."""
    return lambda stage, _order: PairedDecisions(len(stage.steps) - 1, options)


def _optuna(pruner: str, stage: StageCurves, order: int) -> Decisions:
    config = _searched(stage.stage, pruner, tuple(stage.steps[:-1]), len(stage.curves))
    return OptunaDecisions(Pruning(config), stage, f"{stage.stage}-{order}")


@cache
def _searched(stage: str, pruner: str, rungs: tuple[int, ...], trials: int) -> StageConfig:
    """The shipped recipe's stage, searched with this pruner at the rungs of the curves."""
    config = load_recipe(RECIPE).stages[stage]
    search = {
        "pruner": pruner,
        "pruner_options": {},
        "rungs": list(rungs),
        "trials": trials,
        "reduction_factor": REDUCTION_FACTOR,
    }
    return config.model_copy(update={"sweep": config.sweep.model_copy(update=search)})


#: What is compared, by name; the number tells searches of different order apart.
STRATEGIES: dict[str, Strategy] = {
    "ours": paired(PairedOptions()),
    "halving": partial(_optuna, "successive_halving"),
    "hyperband": partial(_optuna, "hyperband"),
    "median": partial(_optuna, "median"),
    "wilcoxon": lambda stage, _order: WilcoxonDecisions(len(stage.steps) - 1),
}
