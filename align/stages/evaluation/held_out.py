"""Which measures a stage's trials get at which milestone, and those of what they stand beside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from align.recipe import Recipe, StageConfig
from align.recipe.rewards import RewardConfig
from align.recipe.trl import Method
from align.stages.evaluation.checking import measurable
from align.stages.evaluation.evaluate import Evaluator
from align.stages.evaluation.measures import Evaluation
from align.stages.rewards import columns_of

#: The kinds of measurement; each is one pass over one set of held-out items.
Kind = Literal["answers", "wins", "pairs", "implied", "completions", "labels", "divergence"]

_BY_OBJECTIVE: dict[str, tuple[Kind, ...]] = {
    "accuracy": ("answers",),
    "reward": ("answers",),
    "win_rate": ("answers", "wins"),
    "nll": ("completions",),
    "label_auc": ("labels",),
}
_BY_METHOD: dict[Method, tuple[Kind, ...]] = {
    "sft": ("answers", "completions", "divergence"),
    "reward": ("pairs",),
    "dpo": ("answers", "implied", "divergence"),
    "kto": ("answers", "labels", "divergence"),
    "grpo": ("answers", "divergence"),
}
#: Of a parent and a base: what is not measured against the parent.
_ABSOLUTE: dict[Kind, Kind] = {
    "answers": "answers",
    "pairs": "pairs",
    "implied": "pairs",
    "completions": "completions",
}


def at_rung(stage: StageConfig) -> tuple[Kind, ...]:
    """What the objective needs, and no more."""
    if stage.objective == "pair_accuracy":
        kinds: tuple[Kind, ...] = ("pairs",) if stage.method == "reward" else ("implied",)
    else:
        kinds = _BY_OBJECTIVE[stage.objective]
    bound = stage.max_length_ratio is not None and "answers" not in kinds
    return ("answers", *kinds) if bound else kinds


def at_end(stage: StageConfig) -> tuple[Kind, ...]:
    """Everything that the stage's data and its reward model allow."""
    judged = stage.reward_model is not None and stage.method != "reward"
    kinds: tuple[Kind, ...] = (*_BY_METHOD[stage.method], *(("wins",) if judged else ()))
    return tuple(dict.fromkeys((*at_rung(stage), *kinds)))


class HeldOut:
    """A stage's validation items, on which a trial, its parent and the base are measured."""

    def __init__(
        self,
        recipe: Recipe,
        stage: str,
        config: StageConfig,
        parent: Path | None,
        reward_model: Path | None,
    ):
        self._recipe, self._stage, self._config, self._parent = recipe, stage, config, parent
        self.evaluator = Evaluator(recipe, reward_model, lasting=(None, parent))

    def rung(self, adapter: Path) -> Evaluation:
        """What decides whether the trial goes on."""
        rewarded = self._config.objective == "reward"
        return self._measure(adapter, at_rung(self._config), self._rewards() if rewarded else {})

    def end(self, adapter: Path) -> Evaluation:
        """Everything; see `at_end`."""
        return self._measure(adapter, at_end(self._config), self._rewards())

    def beside(self, adapter: Path | None) -> Evaluation:
        """The same of the parent or the base, where it is not said against the parent."""
        kinds = dict.fromkeys(_ABSOLUTE[one] for one in at_end(self._config) if one in _ABSOLUTE)
        return self._measure(adapter, tuple(kinds), self._rewards())

    def parent_length(self) -> float:
        """Characters of the parent's answers, on average."""
        one = self.evaluator.answering(self._parent, "validation", {}, stage=self._stage)
        return one.metrics()["length"]

    def _rewards(self) -> Mapping[str, RewardConfig]:
        """The recipe's; where they do not decide, only those that the prompts' columns allow."""
        configs = self._recipe.rewards(self._stage)
        if self._config.objective == "reward" or self._config.method == "reward":
            return configs
        rows = self.evaluator.prompts("validation", self._stage)
        return measurable(configs, columns_of(rows))

    def _measure(
        self, adapter: Path | None, kinds: tuple[Kind, ...], rewards: Mapping[str, RewardConfig]
    ) -> Evaluation:
        whole = Evaluation(self._stage, "validation")
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
        measure, stage, parent = self.evaluator, self._stage, self._parent
        if kind == "answers":
            return measure.answering(adapter, "validation", rewards, stage=stage)
        if kind == "wins":
            return measure.winning(before, adapter, parent, stage, "validation")
        if kind == "pairs":
            scored = self._config.method == "reward" and adapter not in (None, parent)
            return measure.ranking(adapter, stage, "validation", by_score=scored)
        if kind == "implied":
            return measure.implying(adapter, parent, stage, "validation")
        if kind == "completions":
            return measure.likelihood(adapter, stage, "validation")
        if kind == "labels":
            return measure.labelling(adapter, parent, stage, "validation")
        return measure.diverging(adapter, parent, stage, "validation")
