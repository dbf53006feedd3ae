"""One stage of a recipe. Field names are TRL's and PEFT's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import gcd
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from align.errors import RecipeError
from align.recipe.blocks import Block, DataConfig, SweepConfig
from align.recipe.checks import complaints
from align.recipe.extra import elsewhere, parse_extra, unknown
from align.recipe.lora import LoraConfig
from align.recipe.rewards import RewardConfigs
from align.recipe.space import SearchedFloat, SearchedPositive, Space, Tie, Value
from align.recipe.trl import CONFIGS, Method, trl_fields

Objective = Literal["accuracy", "reward", "nll", "pair_accuracy", "label_auc", "win_rate"]

#: Objectives that each method may be searched by. None of them contains a searched field:
#: DPO's own loss and margins scale with beta, so they are not here.
OBJECTIVES: dict[Method, tuple[Objective, ...]] = {
    "sft": ("accuracy", "reward", "nll"),
    "reward": ("pair_accuracy",),
    "dpo": ("accuracy", "reward", "win_rate", "pair_accuracy"),
    "kto": ("accuracy", "reward", "win_rate", "label_auc"),
    "grpo": ("accuracy", "reward"),
}
MINIMISED: frozenset[Objective] = frozenset({"nll"})

Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
    "inverse_sqrt", "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr",
    "warmup_stable_decay", "greedy",
]  # fmt: skip


class StageConfig(Block):
    """One alignment stage: what it trains, on what, searched by which objective.

    Beside the fields here it holds any other field of its method's TRL config.
    """

    model_config = ConfigDict(extra="allow")

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
    lr_scheduler_type: Scheduler = "linear"
    warmup_steps: int | float = Field(default=0, ge=0)
    weight_decay: SearchedFloat = 0.0
    max_grad_norm: SearchedFloat = 1.0
    num_generations: int = Field(default=8, ge=2)
    max_completion_length: int = Field(default=64, ge=1)
    temperature: SearchedPositive = 1.0
    save_steps: int | None = Field(default=None, ge=1)

    rewards: RewardConfigs = Field(default_factory=dict)
    objective: Objective
    max_length_ratio: float | None = Field(default=None, gt=0)
    sweep: SweepConfig = Field(default_factory=SweepConfig)
    budget_seconds: float | None = Field(default=None, gt=0)

    @model_validator(mode="wrap")
    @classmethod
    def _with_trl_fields(cls, raw: Any, validate: Callable[[Any], StageConfig]) -> StageConfig:
        """TRL's further fields parsed, and what is wrong with them told beside the rest."""
        if not isinstance(raw, Mapping) or raw.get("method") not in CONFIGS:
            return validate(raw)
        extra, wrong = _extra(raw["method"], raw, cls.model_fields)
        try:
            stage = validate({**raw, **extra})
        except ValidationError as error:
            wrong = [*_again(error), *wrong]
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return stage

    @model_validator(mode="after")
    def _consistent(self) -> StageConfig:
        allowed = OBJECTIVES[self.method]
        if self.objective not in allowed:
            raise ValueError(
                f"objective '{self.objective}' does not judge {self.method}; "
                f"allowed: {', '.join(allowed)}"
            )
        foreign = [
            elsewhere(self.method, name)
            for name, field in type(self).model_fields.items()
            if name in _OF_SOME_METHODS and getattr(self, name) != field.default
        ]
        if found := [one for one in (*foreign, *complaints(self)) if one]:
            raise ValueError("; ".join(found))
        return self

    @property
    def completions_per_step(self) -> int:
        """Sequences that one optimizer step sees."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def generation_batch(self) -> int:
        """Completions that GRPO writes at a time (TRL's `generation_batch_size`)."""
        given = self.trl_value("generation_batch_size")
        batches = self.trl_value("steps_per_generation") or self.gradient_accumulation_steps
        return given or self.per_device_train_batch_size * int(batches)

    @property
    def generation_period(self) -> int:
        """Optimizer steps after which GRPO's completions and its steps begin together.

        TRL writes new ones every `steps_per_generation * num_iterations` micro-batches, and an
        optimizer step takes `gradient_accumulation_steps` of them (`GRPOTrainer._prepare_inputs`).
        """
        batches = self.generation_batch // self.per_device_train_batch_size
        micro = batches * int(self.trl_value("num_iterations"))
        return micro // gcd(micro, self.gradient_accumulation_steps)

    @property
    def minimised(self) -> bool:
        """Whether a lower objective is better."""
        return self.objective in MINIMISED

    def trl_value(self, name: str) -> Any:
        """What the stage, else its TRL config, has for a field of this method's config."""
        own = (self.model_extra or {}).get(name)
        return trl_fields(self.method)[name].default if own is None else own

    def trl(self) -> dict[str, Any]:
        """The arguments for the method's TRL config that the recipe gives; of a resolved stage.

        Typed fields that are None are left out, and so is what TRL's config does not have.
        """
        taken, extra = trl_fields(self.method).keys() - {"save_steps"}, self.model_extra or {}
        return {
            name: value
            for name, value in self
            if name in taken and (value is not None or name in extra)
        }

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
        if unsearched := set(params) - set(space):
            raise RecipeError(f"not searched here: {sorted(unsearched)}; searched: {sorted(space)}")
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

    def largest_rank(self) -> int:
        """The highest rank that a trial may draw.

        RecipeError names what trial 0, or an end or a choice of one searched field, leads to
        that cannot be trained.
        """
        resolved = [self.resolve()]
        for path, space in self.space().items():
            resolved += [self.resolve({path: value}) for value in space.ends()]
        return max(one.lora.r for one in resolved if isinstance(one.lora.r, int))


#: Typed fields that not every method's config has; the others are the same in all.
_OF_SOME_METHODS = (
    "beta", "max_length", "num_generations", "max_completion_length", "temperature",
)  # fmt: skip


def _extra(
    method: Method, raw: Mapping[str, Any], typed: Mapping[str, Any]
) -> tuple[dict[str, Any], list[InitErrorDetails]]:
    parsed: dict[str, Any] = {}
    wrong: list[InitErrorDetails] = []
    for name in [name for name in raw if isinstance(name, str) and name not in typed]:
        value = raw[name]
        try:
            if text := elsewhere(method, name):
                raise ValueError(text)
            if text := unknown(method, name, typed):
                error = PydanticCustomError("unknown_field", "{text}", {"text": text})
                wrong.append(InitErrorDetails(type=error, loc=(name,), input=value))
            else:
                parsed[name] = parse_extra(method, name, value)
        except ValidationError as error:  # of a space; a ValueError too
            wrong += [{**one, "loc": (name, *one.get("loc", ()))} for one in _again(error)]
        except ValueError as error:
            ctx = {"error": error}
            wrong.append(InitErrorDetails(type="value_error", loc=(name,), input=value, ctx=ctx))
    return parsed, wrong


def _again(error: ValidationError) -> list[InitErrorDetails]:
    """What was wrong, as it is told to pydantic a second time."""
    return [
        InitErrorDetails(
            type=one["type"], loc=one["loc"], input=one["input"], ctx=one.get("ctx", {})
        )
        for one in error.errors()
    ]


def _set(stage: StageConfig, path: str, value: Any) -> None:
    block: BaseModel = stage.lora if path.startswith("lora.") else stage
    setattr(block, path.removeprefix("lora."), value)
