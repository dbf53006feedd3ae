"""A stage of a recipe that is checked as a whole: its fields, what is searched, and its trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError, model_validator
from pydantic_core import InitErrorDetails

from align.methods import METHODS, MethodName
from align.recipe import candidates, resolution
from align.recipe.metric_schedule import unmeasured, wrong_rung_metric
from align.recipe.schema import StageSchema
from align.recipe.trl_fields.passthrough import elsewhere, parse_extra, unknown
from align.recipe.validation_errors import again, raise_if, unknown_at, wrong_at
from align.recipe.validators import complaints
from align.space.field_types import unsearched
from align.space.spaces import Value


class StageConfig(StageSchema):
    """A valid stage. Values, conditions and expressions fit together in every trial.

    Resolution, candidates and checks are functions of the schema's fields; this class calls them.
    """

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
    if reason := wrong_rung_metric(stage):
        yield wrong_at(("sweep", "rung_metric"), reason, stage.sweep.rung_metric)
    for index, point in enumerate(() if problems else stage.sweep.points):
        try:
            stage.sweep.points[index] = resolution.read_point(stage, point)
        except ValueError as error:
            yield wrong_at(("sweep", "points", index), str(error), point)
