"""Which measures a stage's trials get at which milestone, and those of what they stand beside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from align.data.problems import Split
from align.errors import DataError, RecipeError
from align.evaluation.checking import measurable
from align.evaluation.evaluate import Evaluator
from align.evaluation.metrics import Evaluation, objective
from align.recipe import Recipe, StageConfig
from align.recipe.metric_schedule import ABSOLUTE, Kind, at_end, at_rung, kind_beside, kind_of
from align.recipe.rewards import RewardConfig
from align.rewards import columns_of
from align.space.constraints import (
    Constraint,
    System,
    broken,
    needed,
    read_constraint,
)

__all__ = ["EvalPlan", "at_end", "at_rung"]


class EvalPlan:
    """A stage's items of one split, on which a trial, its parent and the base are measured.

    `lasting` are further adapters that are published, beside the parent and the base.
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
        """What decides whether the trial goes on."""
        rewarded = self._config.objective == "reward"
        return self._measure(adapter, at_rung(self._config), self._rewards() if rewarded else {})

    def end(self, adapter: Path) -> Evaluation:
        """Everything; see `at_end`."""
        return self._measure(adapter, at_end(self._config), self._rewards())

    def decisive(self, adapter: Path | None) -> Evaluation:
        """What the objective and the constraints need, of a trial, the parent or the base.

        Of what the others are held against (the parent, without one the base), only what can be
        said of a system by itself.
        """
        config = self._config
        looked_at = needed(config.constraints)
        wanted = {*at_rung(config), *(kind_of(config, one) for one in looked_at)}
        if "wins" in wanted:
            wanted.add("answers")  # those that the judge compares
        kinds = [one for one in at_end(config) if one in wanted]
        if adapter == self._parent:
            kinds = [ABSOLUTE[one] for one in kinds if one in ABSOLUTE]
        rewarded = config.objective == "reward" or any(map(_rewarded, looked_at))
        return self._measure(adapter, tuple(kinds), self._rewards() if rewarded else {})

    def beside(self, adapter: Path | None) -> Evaluation:
        """The same as `end` of the parent or the base, where it is not said against the parent."""
        kinds = dict.fromkeys(ABSOLUTE[one] for one in at_end(self._config) if one in ABSOLUTE)
        return self._measure(adapter, tuple(kinds), self._rewards())

    def outcome(self, measured: Evaluation, last: bool) -> dict[str, float]:
        """`objective`, NaN where it was not measured, and `violation` where there is one."""
        value = objective(self._config.objective, measured, self._config.method)
        found = self.violation(measured, last and math.isfinite(value))
        return {"objective": value, **({} if found is None else {"violation": found})}

    def violation(self, measured: Evaluation, last: bool) -> float | None:
        """How far the constraint that is broken most is broken, relative to its bound.

        None if nothing that a constraint needs was measured. RecipeError if a bound cannot be
        computed; DataError if something is missing at the `last` measurement, which should have
        everything.
        """
        metrics, found = measured.metrics(), []
        for text in self._config.constraints:
            one = read_constraint(text)
            beside: dict[tuple[System, str], float] = {}
            if one.metric in metrics:
                beside = {(system, name): self._of(system, name) for system, name in one.beside}
            try:
                value = broken(one, metrics, beside)
            except ValueError as error:
                raise RecipeError(f"stages.{self._stage}.constraints: {text}: {error}") from None
            if value is not None:
                found.append(value)
            elif last:
                raise DataError(self._missing(one, metrics, beside))
        return max(found, default=None)

    def _missing(
        self,
        one: Constraint,
        metrics: Mapping[str, float],
        beside: Mapping[tuple[System, str], float],
    ) -> str:
        lacks = [f"{system}.{name}" for (system, name), v in beside.items() if not math.isfinite(v)]
        return (
            f"stages.{self._stage}.constraints: {one.text}: {(lacks or [one.metric])[0]} cannot be "
            f"measured on these items; measured: {', '.join(sorted(metrics))}"
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
        """The recipe's; where they do not decide, only those that the prompts' columns allow."""
        configs = self._recipe.rewards(self._stage)
        if self._config.objective == "reward" or self._config.method == "reward":
            return configs
        rows = self.evaluator.prompts(self._split, self._stage)
        return measurable(configs, columns_of(rows))

    def _measure(
        self, adapter: Path | None, kinds: tuple[Kind, ...], rewards: Mapping[str, RewardConfig]
    ) -> Evaluation:
        whole = Evaluation(self._stage, self._split)
        for kind in kinds:
            whole.with_(self._one(kind, adapter, rewards, whole))
        return whole

    def _one(
        self,
        kind: Kind,
        adapter: Path | None,
        rewards: Mapping[str, RewardConfig],
        before: Evaluation,
    ) -> Evaluation:
        measure, stage, parent, split = self.evaluator, self._stage, self._parent, self._split
        if kind == "answers":
            return measure.answering(adapter, split, rewards, stage=stage)
        if kind == "wins":
            return measure.winning(before, adapter, parent, stage, split)
        if kind == "pairs":
            scored = self._config.method == "reward" and adapter not in (None, parent)
            return measure.ranking(adapter, stage, split, by_score=scored)
        if kind == "implied":
            return measure.implying(adapter, parent, stage, split)
        if kind == "completions":
            return measure.likelihood(adapter, stage, split)
        if kind == "labels":
            return measure.labelling(adapter, parent, stage, split)
        return measure.diverging(adapter, parent, stage, split)


def _rewarded(metric: str) -> bool:
    return metric == "mean_reward" or metric.startswith("reward")
