"""The typed recipe: a base model and a graph of stages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from align.errors import RecipeError
from align.fp32_modules import NAME_PARTS, NEVER_HELD
from align.methods import names_of
from align.recipe.blocks import Block, DataConfig, EvaluationConfig
from align.recipe.lora import MAX_RANK
from align.recipe.schema import MINIMISED
from align.recipe.stage import StageConfig
from align.rewards.base import RewardConfig
from align.space.constraints import needed
from align.space.spaces import Expression, Space, Value

__all__ = ["MINIMISED", "Recipe", "StageConfig"]

#: Pattern of the names of recipes and stages; `<recipe>/<stage>` is a line of the registry.
NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
StageName = Annotated[str, Field(pattern=NAME)]
_REFERENCE = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[1-9][0-9]*|@[A-Za-z][\w.-]*)")


def is_reference(name: str | None) -> bool:
    """Whether a parent or reward model is a registered adapter rather than a stage."""
    return name is not None and (":" in name or "@" in name)


class Recipe(Block):
    """The whole experiment: a base model and a graph of stages.

    `fp32_modules` are parts of names of the base's linear layers that compute in fp32 where it is
    loaded in fp16.
    """

    name: str = Field(pattern=NAME)
    description: str = ""
    base: str
    seed: int = 0
    fp32_modules: list[str] = Field(default_factory=list)
    data: DataConfig | None = None
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    stages: dict[StageName, StageConfig] = Field(min_length=1)

    @field_validator("fp32_modules")
    @classmethod
    def _may_be_held(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            if not NAME_PARTS.fullmatch(pattern) or pattern.rpartition(".")[2] in NEVER_HELD:
                raise ValueError(
                    "expected parts of names of linear layers, such as mlp, layers.3.mlp or "
                    f"o_proj, without {', '.join(sorted(NEVER_HELD))}; got {pattern!r}"
                )
        return patterns

    @model_validator(mode="after")
    def _graph(self) -> Recipe:
        for name, stage in self.stages.items():
            if stage.data is None and self.data is None:
                raise ValueError(f"stages.{name}: no data here nor at the top of the recipe")
            self._check_links(name, stage)
        self.order()
        for name in self.stages:
            self._check_trials(name)
            self._check_constraints(name)
        for name in self.stages:
            self._check_ranks(name)
        return self

    def _check_links(self, name: str, stage: StageConfig) -> None:
        for field in ("parent", "reward_model"):
            target = getattr(stage, field)
            if is_reference(target) and not _REFERENCE.fullmatch(target):
                raise ValueError(
                    f"stages.{name}.{field}: '{target}' is no adapter's name; expected "
                    "<recipe>/<stage>:<number> or <recipe>/<stage>@<alias>"
                )
            if target is not None and not is_reference(target) and target not in self.stages:
                raise ValueError(
                    f"stages.{name}.{field}: unknown stage '{target}'; "
                    f"allowed: {', '.join(self.stages)}, or a registered adapter such as "
                    "<recipe>/<stage>@champion"
                )
        judge = self.stages.get(stage.reward_model or "")
        parent = self.stages.get(stage.parent or "")
        if judge is not None and not judge.training_method.trains_reward_model:
            raise ValueError(
                f"stages.{name}.reward_model: '{stage.reward_model}' is a {judge.method} "
                f"stage; a stage of method {_any_of('trains_reward_model')} is needed"
            )
        if parent is not None and parent.training_method.trains_reward_model:
            raise ValueError(f"stages.{name}.parent: a reward model cannot be a parent")
        if stage.objective == "reward" and not self.rewards(name):
            raise ValueError(
                f"stages.{name}.objective: 'reward' needs rewards in this stage or a "
                f"{_any_of('online')} stage"
            )
        if stage.sweep.rung_metric == "mean_reward" and not self.rewards(name):
            raise ValueError(
                f"stages.{name}.sweep.rung_metric: 'mean_reward' needs rewards in this stage or a "
                f"{_any_of('online')} stage"
            )

    def _check_trials(self, name: str) -> None:
        """Check that trials with the parameters of `variants` and `points` can be trained."""
        stage = self.stages[name]
        for params in (*stage.variants(), *stage.sweep.points):
            try:
                resolved = stage.resolve(params)
            except RecipeError as error:
                raise ValueError(f"stages.{name}.{error}{_where(params)}") from None
            try:
                self._check_steps(name, resolved)
            except ValueError as error:
                raise ValueError(f"{error}{_where(params)}") from None

    def _check_ranks(self, name: str) -> None:
        """Check that the largest possible rank of the stacked adapter can be served."""
        chain = [(stage, self.stages[stage].largest_rank()) for stage in self.chain(name)]
        if (rank := sum(rank for _, rank in chain)) > MAX_RANK:
            parts = " + ".join(f"{stage} {stage_rank}" for stage, stage_rank in reversed(chain))
            raise ValueError(
                f"stages.{name}.lora.r: the ranks of stacked stages add up, and {parts} makes "
                f"{rank}, where at most {MAX_RANK} are served; search smaller ranks"
            )

    def _check_steps(self, name: str, stage: StageConfig) -> None:
        """Check the number of steps and rows; `stage` is a trial's resolved stage."""
        data, steps = self.data_of(name), self._steps_of(name, stage)
        if stage.sweep.rungs and stage.sweep.rungs[-1] >= steps:
            raise ValueError(
                f"stages.{name}.sweep.rungs: every rung must come before the last step "
                f"({steps}); got {stage.sweep.rungs}"
            )
        if stage.warmup_steps > steps:
            raise ValueError(
                f"stages.{name}.warmup_steps: {stage.warmup_steps:g} is more than the stage's "
                f"{steps} steps, so the learning rate would never be reached"
            )
        fewest = stage.training_method.least_train_rows(stage)
        if fewest is not None and data.train < fewest[0]:
            least, of_what = fewest
            raise ValueError(
                f"stages.{name}: {data.train} rows to train on are fewer than {least} ({of_what}), "
                "and TRL leaves out what does not fill a batch"
            )

    def _check_constraints(self, name: str) -> None:
        """Check that the rewards that constraints use exist."""
        stage, rewards = self.stages[name], self.rewards(name)
        for metric in needed(stage.constraints):
            family, _, reward = metric.partition("/")
            if metric == "mean_reward" and not rewards:
                raise ValueError(
                    f"stages.{name}.constraints: '{metric}' needs rewards in this stage or a "
                    f"{_any_of('online')} stage"
                )
            if family == "reward" and reward not in rewards:
                raise ValueError(
                    f"stages.{name}.constraints: no reward '{reward}'; "
                    f"allowed: {', '.join(rewards) or 'none, since nothing has rewards'}"
                )

    def line(self, stage: str) -> str:
        """The registry's name for this stage's adapters: `<recipe>/<stage>`."""
        return f"{self.name}/{stage}"

    def data_of(self, stage: str) -> DataConfig:
        """The stage's data, its own or the recipe's."""
        data = self.stages[stage].data or self.data
        assert data is not None  # checked by _graph
        return data

    def steps(self, stage: str, params: Mapping[str, Value] | None = None) -> int:
        """Optimizer steps of a whole trial with `params`, or of the longest trial if None."""
        config = self.stages[stage]
        if params is not None:
            return self._steps_of(stage, config.resolve(params))
        return max(self._every_steps(stage))

    def fewest_steps(self, stage: str) -> int:
        """Optimizer steps of the stage's shortest trial."""
        return min(self._every_steps(stage))

    def _every_steps(self, stage: str) -> list[int]:
        config = self.stages[stage]
        counted = (*_STEPS, *(_ONLINE_STEPS if config.training_method.online else ()))
        if not any(isinstance(config.value(name), Space | Expression) for name in counted):
            return [self._steps_of(stage, config)]
        return [self._steps_of(stage, config.resolve(params)) for params in config.variants()]

    def _steps_of(self, stage: str, config: StageConfig) -> int:
        if config.max_steps is not None:
            return config.max_steps
        rows = self.data_of(stage).train
        rows = config.training_method.sequences_of_epoch(rows, config)
        return math.ceil(rows / config.completions_per_step * (config.num_train_epochs or 1))

    def rewards(self, stage: str | None = None) -> dict[str, RewardConfig]:
        """The rewards of the held-out measure: the stage's own, else those of an online stage."""
        if stage is not None and self.stages[stage].rewards:
            return self.stages[stage].rewards
        return next((dict(config.rewards) for config in self.stages.values() if config.rewards), {})

    def needs(self, stage: str) -> list[str]:
        """The stages whose champions the stage builds on: its parent and its reward model.

        Registered adapters are not included: see `references`.
        """
        return [name for _, name in self._links(stage) if not is_reference(name)]

    def references(self, stage: str) -> dict[str, str]:
        """Registered adapters that the stage names, by field (`parent`, `reward_model`)."""
        return {field: name for field, name in self._links(stage) if is_reference(name)}

    def _links(self, stage: str) -> Iterator[tuple[str, str]]:
        config = self.stages[stage]
        for field, name in (("parent", config.parent), ("reward_model", config.reward_model)):
            if name is not None:
                yield field, name

    def chain(self, stage: str) -> list[str]:
        """The stage and its ancestors in this recipe, nearest first."""
        names = [stage]
        while (parent := self.stages[names[-1]].parent) is not None and parent in self.stages:
            names.append(parent)
        return names

    def order(self) -> list[str]:
        """The stages, each after the stages that it needs. ValueError names a cycle."""
        ordered: list[str] = []
        waiting = list(self.stages)
        while waiting:
            ready = [name for name in waiting if all(need in ordered for need in self.needs(name))]
            if not ready:
                raise ValueError(self._circle(waiting))
            ordered.append(ready[0])
            waiting.remove(ready[0])
        return ordered

    def _circle(self, waiting: list[str]) -> str:
        """The message about a cycle; each stage of `waiting` needs another of them."""
        path: list[str] = waiting[:1]
        while path[-1] not in path[:-1]:
            path.append(next(need for need in self.needs(path[-1]) if need in waiting))
        circle = path[path.index(path[-1]) :]
        first, second = self.stages[circle[0]], circle[1]
        field = "parent" if first.parent == second else "reward_model"
        return (
            f"stages.{circle[0]}.{field}: stages need each other in a circle: "
            f"{' -> '.join(circle)}; one of them must start from base (no parent)"
        )


#: Fields that the number of steps depends on.
_STEPS = (
    "max_steps", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps",
)  # fmt: skip
_ONLINE_STEPS = ("num_generations", "num_iterations")


def _any_of(attribute: str) -> str:
    """The methods with this property, as a message names them."""
    return " or ".join(names_of(attribute))


def _where(params: Mapping[str, Value]) -> str:
    """The trial's parameters, as the end of a message; empty for trial 0."""
    assignments = ", ".join(f"{path} = {value}" for path, value in params.items())
    return f" (in a trial with {assignments})" if assignments else ""
