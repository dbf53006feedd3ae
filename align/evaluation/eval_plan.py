"""Which measures a stage's trials, their parent and the base get at each milestone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean

from align.data.problems import Split
from align.errors import DataError, RecipeError
from align.evaluation.checking import measurable
from align.evaluation.evaluate import Evaluator
from align.evaluation.metrics import Evaluation, objective
from align.evaluation.rung_values import compared_values
from align.methods import Kind, is_reward_model
from align.recipe import Recipe, StageConfig
from align.recipe.metric_schedule import (
    ABSOLUTE,
    at_end,
    at_rung,
    for_objective,
    kind_beside,
    kind_of,
    rung_metric,
)
from align.rewards import columns_of
from align.rewards.base import RewardConfig
from align.space.constraints import (
    Constraint,
    System,
    broken,
    needed,
    read_constraint,
)

__all__ = ["EvalPlan", "at_end", "at_rung"]


class EvalPlan:
    """Measures a trial, its parent and the base on a stage's items of one split.

    `lasting` are further published adapters whose results are cached, as the parent's and the
    base's are.
    """

    def __init__(
        self,
        recipe: Recipe,
        stage: str,
        config: StageConfig,
        parent: Path | None,
        reward_model: Path | None,
        split: Split = "validation",
        lasting: Iterable[Path | None] = (),
    ):
        self._recipe, self._stage, self._config, self._parent = recipe, stage, config, parent
        self._split: Split = split
        self._beside: dict[tuple[System, Kind], Mapping[str, float]] = {}
        self.evaluator = Evaluator(recipe, reward_model, lasting=(None, parent, *lasting))

    def rung(self, adapter: Path) -> Evaluation:
        """The measures that decide whether the trial continues."""
        metric = rung_metric(self._config)
        needs_rewards = (
            self._config.objective == "reward"
            if metric is None
            else metric in ("mean_reward", "sampled_reward")
        )
        return self._measure(
            adapter, at_rung(self._config), self._rewards() if needs_rewards else {}
        )

    def rung_values(self, measured: Evaluation) -> dict[str, float]:
        """The rung metric of each item that was measured, by the item's key.

        Empty if trials are compared by the objective.
        """
        return compared_values(measured, self._config)

    def end(self, adapter: Path) -> Evaluation:
        """All measures; see `at_end`."""
        return self._measure(adapter, at_end(self._config), self._rewards())

    def decisive(self, adapter: Path | None) -> Evaluation:
        """The measures that the objective and the constraints need, of any adapter or the base.

        The parent (the base if there is no parent) gets absolute measures only, as the others are
        measured relative to it.
        """
        config = self._config
        metrics = needed(config.constraints)
        needed_kinds = {*for_objective(config), *(kind_of(config, metric) for metric in metrics)}
        if "wins" in needed_kinds:
            needed_kinds.add("answers")  # the judge compares them
        kinds = [kind for kind in at_end(config) if kind in needed_kinds]
        if adapter == self._parent:
            kinds = [ABSOLUTE[kind] for kind in kinds if kind in ABSOLUTE]
        needs_rewards = config.objective == "reward" or any(map(_rewarded, metrics))
        return self._measure(adapter, tuple(kinds), self._rewards() if needs_rewards else {})

    def beside(self, adapter: Path | None) -> Evaluation:
        """As `end`, of the parent or the base, without the measures relative to the parent."""
        kinds = dict.fromkeys(ABSOLUTE[kind] for kind in at_end(self._config) if kind in ABSOLUTE)
        return self._measure(adapter, tuple(kinds), self._rewards())

    def outcome(self, measured: Evaluation, last: bool) -> dict[str, float]:
        """`objective`, `rung` (the mean of the rung metric) and `violation` of a measurement.

        What decides is NaN if it was not measured: the rung metric at a rung, the objective at the
        last step and where trials are compared by it. Else it is left out, and so is a `violation`
        that is None.
        """
        config, outcome = self._config, dict[str, float]()
        value = objective(config.objective, measured, config.method)
        values, by_metric = self.rung_values(measured), rung_metric(config) is not None
        if last or not by_metric or math.isfinite(value):
            outcome["objective"] = value
        if values or (by_metric and not last):
            outcome["rung"] = fmean(values.values()) if values else math.nan
        violation = self.violation(measured, last and math.isfinite(value))
        return {**outcome, **({} if violation is None else {"violation": violation})}

    def violation(self, measured: Evaluation, last: bool) -> float | None:
        """The largest violation of a constraint, relative to its bound.

        None if nothing that a constraint needs was measured. RecipeError if a bound cannot be
        computed. DataError if a measure is missing at the `last` measurement, which should have
        all of them.
        """
        metrics, violations = measured.metrics(), []
        for text in self._config.constraints:
            constraint = read_constraint(text)
            beside: dict[tuple[System, str], float] = {}
            if constraint.metric in metrics:
                beside = {
                    (system, name): self._of(system, name) for system, name in constraint.beside
                }
            try:
                value = broken(constraint, metrics, beside)
            except ValueError as error:
                raise RecipeError(f"stages.{self._stage}.constraints: {text}: {error}") from None
            if value is not None:
                violations.append(value)
            elif last:
                raise DataError(self._missing(constraint, metrics, beside))
        return max(violations, default=None)

    def _missing(
        self,
        constraint: Constraint,
        metrics: Mapping[str, float],
        beside: Mapping[tuple[System, str], float],
    ) -> str:
        unmeasured = [
            f"{system}.{name}" for (system, name), v in beside.items() if not math.isfinite(v)
        ]
        return (
            f"stages.{self._stage}.constraints: {constraint.text}: "
            f"{(unmeasured or [constraint.metric])[0]} cannot be measured on these items; "
            f"measured: {', '.join(sorted(metrics))}"
        )

    def _of(self, system: System, metric: str) -> float:
        """A metric of the parent or the base; NaN if it cannot be measured of them."""
        kind = kind_beside(self._config, metric)
        if kind is None:
            return math.nan
        if (system, kind) not in self._beside:
            adapter = self._parent if system == "parent" else None
            self._beside[system, kind] = self._measure(adapter, (kind,), self._rewards()).metrics()
        return self._beside[system, kind].get(metric, math.nan)

    def _rewards(self) -> Mapping[str, RewardConfig]:
        """The recipe's rewards; unless they decide, only those that the prompts' columns allow."""
        configs = self._recipe.rewards(self._stage)
        if self._config.objective == "reward" or is_reward_model(self._config.method):
            return configs
        rows = self.evaluator.prompts(self._split, self._stage)
        return measurable(configs, columns_of(rows))

    def _measure(
        self, adapter: Path | None, kinds: tuple[Kind, ...], rewards: Mapping[str, RewardConfig]
    ) -> Evaluation:
        evaluation = Evaluation(self._stage, self._split)
        for kind in kinds:
            evaluation.with_(self._one(kind, adapter, rewards, evaluation))
        return evaluation

    def _one(
        self,
        kind: Kind,
        adapter: Path | None,
        rewards: Mapping[str, RewardConfig],
        measured: Evaluation,
    ) -> Evaluation:
        evaluator, stage, parent, split = self.evaluator, self._stage, self._parent, self._split
        if kind == "answers":
            return evaluator.answering(adapter, split, rewards, stage=stage)
        if kind == "wins":
            return evaluator.winning(measured, adapter, parent, stage, split)
        if kind == "pairs":
            by_score = is_reward_model(self._config.method) and adapter not in (None, parent)
            return evaluator.ranking(adapter, stage, split, by_score=by_score)
        if kind == "implied":
            return evaluator.implying(adapter, parent, stage, split)
        if kind == "completions":
            return evaluator.likelihood(adapter, stage, split)
        if kind == "sampled":
            sweep = self._config.sweep
            counts = sweep.rung_prompts, sweep.rung_samples
            return evaluator.sampling(adapter, split, rewards, stage, *counts)
        if kind == "labels":
            return evaluator.labelling(adapter, parent, stage, split)
        return evaluator.diverging(adapter, parent, stage, split)


def _rewarded(metric: str) -> bool:
    return metric == "mean_reward" or metric.startswith("reward")
