"""Active fields and expressions of a stage, and the resolved stage of a trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from align.errors import RecipeError
from align.recipe.field_paths import locate, near, put, reader
from align.recipe.schema import StageSchema
from align.space import expressions
from align.space.spaces import Expression, Space, Value, When, alike, scalar
from align.suggestions import did_you_mean

Stage = TypeVar("Stage", bound=StageSchema)


def conditions(stage: StageSchema, path: str) -> When:
    """The `when` of a searched field, with full paths of the fields."""
    space = stage.value(path)
    return {locate(stage, name, path) or name: values for name, values in space.when.items()}


def search_order(stage: StageSchema) -> list[str]:
    """Searched fields, each after the fields that decide whether it is active.

    ValueError names a cycle.
    """
    spaces = stage.space()
    return _sorted(
        spaces, lambda path: [field for field in conditions(stage, path) if field in spaces]
    )


def tie_order(stage: StageSchema) -> list[str]:
    """Computed fields, each after those that it is computed from. ValueError names a cycle."""
    ties = {path: value for path, value in stage.fields() if isinstance(value, Expression)}

    def needs(path: str) -> Iterator[str]:
        for name in ties[path].names:
            if (located := locate(stage, name, path)) is not None and located in ties:
                yield located

    return _sorted(ties, needs)


def is_active(stage: StageSchema, path: str, values: Mapping[str, Value]) -> bool:
    """Whether a trial with these values searches the field.

    Fields that `values` lacks have their defaults. Fields that depend on an inactive field are
    inactive too.
    """
    spaces = stage.space()
    for field, allowed in conditions(stage, path).items():
        if field in spaces:
            if not is_active(stage, field, values):
                return False
            value = values.get(field, spaces[field].default)
        else:
            value = scalar(stage.value(field))
        if not any(alike(value, choice) for choice in allowed):
            return False
    return True


def resolve(stage: Stage, params: Mapping[str, Value] | None = None) -> Stage:
    """See `StageConfig.resolve`."""
    params, spaces = dict(params or {}), stage.space()
    if unsearched := set(params) - set(spaces):
        raise RecipeError(f"not searched here: {sorted(unsearched)}; searched: {sorted(spaces)}")
    for path, value in params.items():
        if not spaces[path].contains(value):
            raise RecipeError(f"{path} = {value!r} lies outside {spaces[path].short()}")
        if not is_active(stage, path, params):
            raise RecipeError(f"{path} = {value!r}: {inactive(stage, path)}")
    copy = stage.model_copy(deep=True)
    for path, space in spaces.items():
        put(copy, path, params.get(path, space.default))
    for path in tie_order(stage):
        put(copy, path, _tied(copy, path, stage.value(path)))
    copy.sweep.points, copy.sweep.stop_when = [], None  # a resolved stage has no spaces
    try:
        return type(stage).model_validate(copy.model_dump(warnings=False))
    except ValidationError as error:
        raise RecipeError("; ".join(_line(detail) for detail in error.errors())) from None


def inactive(stage: StageSchema, path: str) -> str:
    """Why a field is not searched, as the end of a message."""
    requirement = " and ".join(
        f"{field} is {' or '.join(map(str, values))}"
        for field, values in conditions(stage, path).items()
    )
    return f"the field is only searched where {requirement}"


def wrong_conditions(stage: StageSchema) -> Iterator[tuple[str, str]]:
    """Errors in the `when` of searched fields, by path."""
    problems = [
        (path, f"when: {text}")
        for path, space in stage.space().items()
        for name, values in space.when.items()
        if (text := _wrong_condition(stage, path, name, values))
    ]
    yield from problems
    if not problems:
        yield from _circle(lambda: search_order(stage), "when: active only if each other is")


def wrong_ties(stage: StageSchema) -> Iterator[tuple[str, str]]:
    """Errors in computed fields, by path."""
    problems = [
        (path, f"{value.tie}: {text}")
        for path, value in stage.fields()
        if isinstance(value, Expression) and (text := _wrong_tie(stage, path, value))
    ]
    yield from problems
    if not problems:
        yield from _circle(lambda: tie_order(stage), "tied to each other")


def _wrong_tie(stage: StageSchema, path: str, tie: Expression) -> str | None:
    try:
        unknown = [name for name in tie.names if locate(stage, name, path) is None]
    except ValueError as error:
        return str(error)
    return f"unknown name '{unknown[0]}'{near(stage, unknown[0], path)}" if unknown else None


def read_point(stage: StageSchema, point: Mapping[str, Value]) -> dict[str, Value]:
    """A point's values as a trial's parameters, in the order of `search_order`.

    Fields that the point lacks have their defaults. ValueError says what is wrong with the point.
    """
    spaces = stage.space()
    if unknown := [path for path in point if path not in spaces]:
        hint = did_you_mean(unknown[0], spaces) or f"searched: {', '.join(spaces) or 'none'}"
        raise ValueError(f"'{unknown[0]}' is not searched; {hint}")
    params: dict[str, Value] = {}
    for path in (name for name in search_order(stage) if name in point):
        try:
            params[path] = spaces[path].read(point[path])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        if not is_active(stage, path, params):
            raise ValueError(f"{path}: {inactive(stage, path)}")
    return params


def _tied(stage: StageSchema, path: str, tie: Expression) -> float:
    def number(name: str) -> float:
        value = stage.value(locate(stage, name, path) or name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"'{name}' is {value!r} and no number")
        return value

    try:
        return expressions.evaluate(expressions.read(tie.tie), number)
    except ValueError as error:
        raise RecipeError(f"{path}: {tie.tie}: {error}") from None


def _wrong_condition(
    stage: StageSchema, path: str, name: str, values: tuple[Value, ...]
) -> str | None:
    field = locate(stage, name, path)
    if field is None:
        return f"no field '{name}'{near(stage, name, path)}"
    current = stage.value(field)
    if isinstance(current, Expression):
        return f"'{name}' is tied to other fields; name what it is computed from"
    if isinstance(current, Space) and not current.discrete:
        return (
            f"'{name}' is searched by {current.kind}; a condition needs a choice, an int or a value"
        )
    if isinstance(current, BaseModel | Mapping) and not isinstance(current, Space):
        return f"'{name}' holds no single value"
    read = current.read if isinstance(current, Space) else reader(stage, field)
    try:
        scalar(current)
        for value in values:
            read(value)
    except ValueError as error:
        return f"{name}: {error}"
    return None


def _circle(order: Callable[[], object], problem: str) -> Iterator[tuple[str, str]]:
    try:
        order()
    except ValueError as error:
        yield str(error).partition(" ")[0], f"{problem}, in a circle: {error}"


def _sorted(paths: Iterable[str], needs: Callable[[str], Iterable[str]]) -> list[str]:
    """The paths, each after the paths it needs. ValueError holds a cycle, `a -> b -> a`."""
    ordered: list[str] = []

    def visit(path: str, ancestors: tuple[str, ...]) -> None:
        if path in ancestors:
            raise ValueError(" -> ".join((*ancestors[ancestors.index(path) :], path)))
        for need in needs(path):
            visit(need, (*ancestors, path))
        if path not in ordered:
            ordered.append(path)

    for path in paths:
        visit(path, ())
    return ordered


def _line(error: Any) -> str:
    location = ".".join(map(str, error["loc"]))
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{location}: {text}" if location else text
