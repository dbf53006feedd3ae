"""A stage of a recipe. Field names are those of TRL and PEFT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from align.methods import METHODS, Method, MethodName, Objective
from align.recipe import candidates, resolution
from align.recipe.blocks import Block, DataConfig, SweepConfig
from align.recipe.field_paths import value_of
from align.recipe.lora import LoraConfig
from align.recipe.metric_schedule import unmeasured
from align.recipe.rewards import RewardConfigs
from align.recipe.trl_fields.installed import trl_fields
from align.recipe.trl_fields.passthrough import elsewhere, parse_extra, unknown
from align.recipe.validation_errors import again, raise_if, unknown_at, wrong_at
from align.recipe.validators import complaints
from align.space.field_types import (
    AnySpace,
    Flag,
    Float,
    SearchedFloat,
    SearchedPositive,
    Whole,
    numeric,
    one_of,
    unsearched,
    whole,
)
from align.space.spaces import Expression, Space, Value

MINIMISED: frozenset[Objective] = frozenset({"nll"})

Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
    "inverse_sqrt", "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr",
    "warmup_stable_decay", "greedy",
]  # fmt: skip
if TYPE_CHECKING:
    _Scheduler = Scheduler  # as in a resolved stage: see align.space.field_types
else:
    _Scheduler = Annotated[Scheduler | AnySpace, one_of(get_args(Scheduler))]


_positive = numeric(float, "a number above 0", lambda x: x > 0)
_from_zero = numeric(float, "a number from 0 on", lambda x: x >= 0)


class StageConfig(Block):
    """An alignment stage: its method, data, adapter, objective and search.

    A stage may also hold any other supported field of its method's TRL config.
    """

    model_config = ConfigDict(extra="allow")

    method: MethodName
    parent: str | None = None
    reward_model: str | None = None
    data: DataConfig | None = None
    lora: LoraConfig = Field(default_factory=LoraConfig)

    learning_rate: SearchedPositive
    beta: SearchedFloat | None = None
    max_steps: Annotated[Whole, whole(1)] | None = None
    num_train_epochs: Annotated[Float, _positive] | None = None
    per_device_train_batch_size: Annotated[Whole, whole(1)] = 8
    gradient_accumulation_steps: Annotated[Whole, whole(1)] = 1
    gradient_checkpointing: Flag = False
    max_length: Annotated[Whole, whole(8)] = 1024
    lr_scheduler_type: _Scheduler = "linear"
    warmup_steps: Annotated[Float, _from_zero] = 0
    weight_decay: SearchedFloat = 0.0
    max_grad_norm: SearchedFloat = 1.0
    num_generations: Annotated[Whole, whole(2)] = 8
    max_completion_length: Annotated[Whole, whole(1)] = 64
    temperature: SearchedPositive = 1.0
    save_steps: int | None = Field(default=None, ge=1)

    rewards: RewardConfigs = Field(default_factory=dict)
    objective: Objective
    constraints: list[str] = Field(default_factory=list)
    sweep: SweepConfig = Field(default_factory=SweepConfig)
    budget_seconds: float | None = Field(default=None, gt=0)

    @model_validator(mode="wrap")
    @classmethod
    def _with_trl_fields(cls, raw: Any, validate: Callable[[Any], StageConfig]) -> StageConfig:
        """Parse TRL's other fields, and report their errors together with pydantic's."""
        if not isinstance(raw, Mapping):
            return validate(raw)
        errors = [wrong_at((name,), text, raw[name]) for name, text in unsearched(raw)]
        if errors or raw.get("method") not in [*METHODS]:
            raise_if(cls.__name__, errors)
            return validate(raw)
        extra, errors = _extra(raw["method"], raw, cls.model_fields)
        try:
            stage = validate({**raw, **extra})
        except ValidationError as error:
            raise_if(cls.__name__, [*again(error), *errors])
            raise
        raise_if(cls.__name__, errors or list(_searched_wrongly(stage)))
        return stage

    @model_validator(mode="after")
    def _consistent(self) -> StageConfig:
        allowed = self.training_method.objectives
        if self.objective not in allowed:
            raise ValueError(
                f"objective '{self.objective}' does not judge {self.method}; "
                f"allowed: {', '.join(allowed)}"
            )
        foreign = [
            elsewhere(self.method, name) or _unsupported(self.method, name)
            for name, field in type(self).model_fields.items()
            if name in _OF_SOME_METHODS and getattr(self, name) != field.default
        ]
        if problems := [problem for problem in (*foreign, *complaints(self)) if problem]:
            raise ValueError("; ".join(problems))
        return self

    @property
    def training_method(self) -> Method:
        """What is special about the stage's method."""
        return METHODS[self.method]

    @property
    def completions_per_step(self) -> int:
        """Sequences in an optimizer step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def minimised(self) -> bool:
        """Whether a lower objective is better."""
        return self.objective in MINIMISED

    def trl_value(self, name: str) -> Any:
        """The value of a field of the method's TRL config: the stage's, else the default."""
        value = (self.model_extra or {}).get(name)
        return trl_fields(self.method)[name].default if value is None else value

    def searched(self, *names: str) -> bool:
        """Whether any of the fields is searched or computed."""
        return any(isinstance(value_of(self, name), Space | Expression) for name in names)

    def fixed(self, name: str) -> Any:
        """The field's value, or TRL's default; None if it is searched or computed."""
        value = value_of(self, name)
        return None if isinstance(value, Space | Expression) else value

    def trl(self) -> dict[str, Any]:
        """The arguments for the method's TRL config; the stage must be resolved.

        Typed fields that are None and fields that TRL's config lacks or that the method does not
        support are left out.
        """
        unsupported = {"save_steps", *self.training_method.unsupported}
        names, extra = trl_fields(self.method).keys() - unsupported, self.model_extra or {}
        return {
            name: value
            for name, value in self
            if name in names and (value is not None or name in extra)
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

    def search_order(self) -> list[str]:
        """Searched fields, each after the fields that decide whether it is active."""
        return resolution.search_order(self)

    def is_active(self, path: str, values: Mapping[str, Value]) -> bool:
        """Whether a trial with these values searches the field; see `Space.when`.

        Fields that `values` lacks have their defaults. Fields that depend on an inactive field are
        inactive too.
        """
        return resolution.is_active(self, path, values)

    def active(self, values: Mapping[str, Value]) -> list[str]:
        """The fields that a trial with these values searches, in the order of `search_order`."""
        return [path for path in self.search_order() if self.is_active(path, values)]

    def defaults(self) -> dict[str, Value]:
        """The parameters of trial 0."""
        return {
            path: space.default for path, space in self.space().items() if self.is_active(path, {})
        }

    def resolve(self, params: Mapping[str, Value] | None = None) -> StageConfig:
        """This stage with `params` filled in and expressions computed, without search spaces.

        A searched field that `params` does not name takes its default. RecipeError names a
        parameter that is not searched, is inactive with the others or lies outside its space, or
        an expression that cannot be computed.
        """
        return resolution.resolve(self, params)

    def reaching(self, path: str, value: Value) -> dict[str, Value] | None:
        """The fewest parameters of a trial in which the field is active and has this value.

        None if there is no such trial.
        """
        return candidates.reaching(self, path, value)

    def variants(self) -> list[dict[str, Value]]:
        """Parameters of trials that represent the search; those of trial 0 come first."""
        return candidates.variants(self)

    def largest_rank(self) -> int:
        """The highest rank of a trial. RecipeError if a trial cannot be trained."""
        if isinstance(self.lora.r, int):
            return self.lora.r
        ranks = [self.resolve(params).lora.r for params in self.variants()]
        return max(rank for rank in ranks if isinstance(rank, int))


#: Typed fields that some methods' configs lack; all methods have the others.
_OF_SOME_METHODS = (
    "beta", "max_length", "num_generations", "max_completion_length", "temperature",
)  # fmt: skip


def _unsupported(method: MethodName, name: str) -> str | None:
    reason = METHODS[method].unsupported.get(name)
    return reason and f"'{name}' has no meaning for {method}: {reason}"


def _extra(
    method: MethodName, raw: Mapping[str, Any], typed: Mapping[str, Any]
) -> tuple[dict[str, Any], list[InitErrorDetails]]:
    parsed: dict[str, Any] = {}
    errors: list[InitErrorDetails] = []
    for name in [name for name in raw if isinstance(name, str) and name not in typed]:
        value = raw[name]
        try:
            if text := elsewhere(method, name):
                raise ValueError(text)
            if text := unknown(method, name, typed):
                errors.append(unknown_at((name,), text, value))
            else:
                parsed[name] = parse_extra(method, name, value)
        except ValidationError as error:  # an error in a space; a subclass of ValueError
            errors += [{**detail, "loc": (name, *detail.get("loc", ()))} for detail in again(error)]
        except ValueError as error:
            errors.append(wrong_at((name,), str(error), value))
    return parsed, errors


def _searched_wrongly(stage: StageConfig) -> Iterator[InitErrorDetails]:
    """Errors in conditions, expressions, points and constraints, located at their fields."""
    problems = [*resolution.wrong_conditions(stage), *resolution.wrong_ties(stage)]
    for path, text in problems:
        yield wrong_at(tuple(path.split(".")), text)
    for index, text in unmeasured(stage):
        yield wrong_at(("constraints", index), text, stage.constraints[index])
    for index, point in enumerate(() if problems else stage.sweep.points):
        try:
            stage.sweep.points[index] = resolution.read_point(stage, point)
        except ValueError as error:
            yield wrong_at(("sweep", "points", index), str(error), point)
