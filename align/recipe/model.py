"""The recipe's typed form. Field names inside a stage are TRL's and PEFT's own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from align.errors import RecipeError
from align.recipe.blocks import Block, DataConfig, EvaluationConfig, LoraConfig, SweepConfig
from align.recipe.space import SearchedFloat, SearchedPositive, Space, Tie, Value

Method = Literal["sft", "reward", "dpo", "grpo"]
Objective = Literal["accuracy", "reward", "nll", "pair_accuracy", "win_rate"]

#: Objectives that each method may be searched by. None of them contains a searched field:
#: DPO's own loss and margins scale with beta, so they are not here.
OBJECTIVES: dict[Method, tuple[Objective, ...]] = {
    "sft": ("accuracy", "reward", "nll"),
    "reward": ("pair_accuracy",),
    "dpo": ("accuracy", "reward", "win_rate"),
    "grpo": ("accuracy", "reward"),
}
MINIMISED: frozenset[Objective] = frozenset({"nll"})


class StageConfig(Block):
    """One alignment stage: what it trains, on what, searched by which objective."""

    method: Method
    parent: str | None = None
    reward_model: str | None = None
    data: DataConfig | None = None
    lora: LoraConfig = Field(default_factory=LoraConfig)

    learning_rate: SearchedPositive
    beta: SearchedFloat | None = None
    max_steps: int | None = Field(default=None, ge=1)
    num_train_epochs: float | None = Field(default=None, gt=0)
    per_device_train_batch_size: int = Field(default=8, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    gradient_checkpointing: bool = False
    max_length: int = Field(default=1024, ge=8)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: SearchedFloat = 0.0
    max_grad_norm: SearchedFloat = 1.0
    num_generations: int = Field(default=8, ge=2)
    max_completion_length: int = Field(default=64, ge=1)
    temperature: SearchedPositive = 1.0

    rewards: dict[str, float] = Field(default_factory=dict)
    objective: Objective
    max_length_ratio: float | None = Field(default=None, gt=0)
    sweep: SweepConfig = Field(default_factory=SweepConfig)
    budget_seconds: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> StageConfig:
        allowed = OBJECTIVES[self.method]
        if self.objective not in allowed:
            raise ValueError(
                f"objective '{self.objective}' does not judge {self.method}; "
                f"allowed: {', '.join(allowed)}"
            )
        if self.beta is not None and self.method not in ("dpo", "grpo"):
            raise ValueError(f"beta belongs to dpo and grpo; {self.method} has none")
        if (self.max_steps is None) == (self.num_train_epochs is None):
            raise ValueError("name one of max_steps and num_train_epochs")
        if self.method == "grpo" and not self.rewards:
            raise ValueError("grpo needs rewards, e.g. {correctness: 1.0, brevity: 0.2}")
        if unknown := set(self.rewards) - set(REWARDS):
            raise ValueError(f"unknown reward {sorted(unknown)}; allowed: {', '.join(REWARDS)}")
        if "reward_model" in self.rewards and self.reward_model is None:
            raise ValueError("reward 'reward_model' needs the field reward_model: <stage>")
        if self.objective == "win_rate" and self.reward_model is None:
            raise ValueError("objective 'win_rate' needs a judge: the field reward_model: <stage>")
        if self.method == "grpo" and self.completions_per_step % self.num_generations:
            raise ValueError(
                f"num_generations {self.num_generations} must divide the "
                f"{self.completions_per_step} completions of a step "
                "(per_device_train_batch_size * gradient_accumulation_steps)"
            )
        return self

    @property
    def completions_per_step(self) -> int:
        """Sequences that one optimizer step sees."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def minimised(self) -> bool:
        """Whether a lower objective is better."""
        return self.objective in MINIMISED

    def fields(self) -> Iterator[tuple[str, Any]]:
        """All fields with their values by dotted path (`lora.r`), in the recipe's order."""
        for name, value in self:
            if isinstance(value, LoraConfig):
                yield from ((f"lora.{inner}", leaf) for inner, leaf in value)
            else:
                yield name, value

    def space(self) -> dict[str, Space]:
        """Searched fields by dotted path (`lora.r`, `learning_rate`), in the recipe's order."""
        return {path: value for path, value in self.fields() if isinstance(value, Space)}

    def defaults(self) -> dict[str, Value]:
        """The parameters of trial 0."""
        return {path: space.default for path, space in self.space().items()}

    def resolve(self, params: Mapping[str, Value] | None = None) -> StageConfig:
        """This stage with `params` filled in, ties computed and no space left.

        A searched field that `params` does not name takes its default. RecipeError names a
        parameter that is not searched, lies outside its space, or a tie that cannot be computed.
        """
        params, space = dict(params or {}), self.space()
        if unknown := set(params) - set(space):
            raise RecipeError(f"not searched here: {sorted(unknown)}; searched: {sorted(space)}")
        for path, value in params.items():
            if not space[path].contains(value):
                raise RecipeError(f"{path} = {value!r} lies outside {space[path].short()}")
        copy = self.model_copy(deep=True)
        for path, one in space.items():
            _set(copy, path, params.get(path, one.default))
        for path, tie in list(copy.fields()):
            if isinstance(tie, Tie):
                block = copy.lora if path.startswith("lora.") else copy
                try:
                    _set(copy, path, tie.evaluate(dict(block)))
                except (ValueError, ArithmeticError) as error:
                    raise RecipeError(f"{path}: {tie.tie}: {error}") from None
        try:
            return StageConfig.model_validate(copy.model_dump(warnings=False))
        except ValidationError as error:
            lines = [
                f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
                for one in error.errors()
            ]
            raise RecipeError("; ".join(lines)) from None


#: Reward functions that a recipe may weigh; `align.stages.rewards` computes them.
REWARDS = ("correctness", "brevity", "reward_model")


#: A recipe's and a stage's name together are the registry's line, `<recipe>/<stage>`.
NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
StageName = Annotated[str, Field(pattern=NAME)]


class Recipe(Block):
    """The whole experiment: a base model and a graph of stages."""

    name: str = Field(pattern=NAME)
    description: str = ""
    base: str
    seed: int = 0
    data: DataConfig | None = None
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    stages: dict[StageName, StageConfig] = Field(min_length=1)

    @model_validator(mode="after")
    def _graph(self) -> Recipe:
        for name, stage in self.stages.items():
            if stage.data is None and self.data is None:
                raise ValueError(f"stages.{name}: no data here nor at the top of the recipe")
            for field in ("parent", "reward_model"):
                target = getattr(stage, field)
                if target is not None and target not in self.stages:
                    raise ValueError(
                        f"stages.{name}.{field}: unknown stage '{target}'; "
                        f"allowed: {', '.join(self.stages)}"
                    )
            judge = self.stages[stage.reward_model] if stage.reward_model else None
            if judge is not None and judge.method != "reward":
                raise ValueError(
                    f"stages.{name}.reward_model: '{stage.reward_model}' is a {judge.method} "
                    "stage; a stage of method reward is needed"
                )
            if stage.parent and self.stages[stage.parent].method == "reward":
                raise ValueError(f"stages.{name}.parent: a reward model cannot be a parent")
            if stage.sweep.rungs and stage.sweep.rungs[-1] >= self.steps(name):
                raise ValueError(
                    f"stages.{name}.sweep.rungs: every rung must come before the last step "
                    f"({self.steps(name)}); got {stage.sweep.rungs}"
                )
            if "reward" in (stage.objective,) and not self.rewards(name):
                raise ValueError(
                    f"stages.{name}.objective: 'reward' needs rewards in this stage or a grpo stage"
                )
            try:
                stage.resolve()
            except RecipeError as error:
                raise ValueError(f"stages.{name}.{error}") from None
        self.order()
        return self

    def line(self, stage: str) -> str:
        """The registry's name for this stage's adapters: `<recipe>/<stage>`."""
        return f"{self.name}/{stage}"

    def data_of(self, stage: str) -> DataConfig:
        """The stage's data, its own or the recipe's."""
        data = self.stages[stage].data or self.data
        assert data is not None  # _graph holds this
        return data

    def steps(self, stage: str) -> int:
        """Optimizer steps of a whole trial."""
        config = self.stages[stage]
        if config.max_steps is not None:
            return config.max_steps
        rows = self.data_of(stage).train
        if config.method == "grpo":
            rows *= config.num_generations
        return math.ceil(rows / config.completions_per_step * (config.num_train_epochs or 1))

    def rewards(self, stage: str | None = None) -> dict[str, float]:
        """The fixed weights that held-out reward is measured with: the stage's own, else GRPO's."""
        if stage is not None and self.stages[stage].rewards:
            return self.stages[stage].rewards
        return next((dict(one.rewards) for one in self.stages.values() if one.rewards), {})

    def needs(self, stage: str) -> list[str]:
        """Stages whose champion this one builds on: its parent and its reward model."""
        config = self.stages[stage]
        return [name for name in (config.parent, config.reward_model) if name is not None]

    def order(self) -> list[str]:
        """Stages so that each comes after those it needs. ValueError names a cycle."""
        done: list[str] = []
        waiting = list(self.stages)
        while waiting:
            ready = [name for name in waiting if all(need in done for need in self.needs(name))]
            if not ready:
                raise ValueError(self._circle(waiting))
            done.append(ready[0])
            waiting.remove(ready[0])
        return done

    def _circle(self, waiting: list[str]) -> str:
        """What is wrong where each of `waiting` needs another of them."""
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


def _set(stage: StageConfig, path: str, value: Any) -> None:
    block: BaseModel = stage.lora if path.startswith("lora.") else stage
    setattr(block, path.removeprefix("lora."), value)
