"""Candidate trials that are checked before a search begins: each of them must be trainable."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from itertools import product

from align.recipe.field_paths import locate
from align.recipe.resolution import conditions, is_active, search_order
from align.recipe.schema import StageSchema
from align.space.spaces import Expression, Value, alike

#: The most trials that combine several fields' values; a larger grid is sampled.
LIMIT = 256
#: The most values of an `int` space that are checked without combinations.
SINGLE = 64
#: Fields that count steps: their ends are combined too, although they are no choices.
_COUNTED = ("num_train_epochs", "warmup_steps")


def reaching(stage: StageSchema, path: str, value: Value) -> dict[str, Value] | None:
    """The fewest parameters of a trial in which the field is active and has this value.

    None if there is no such trial.
    """
    spaces, params = stage.space(), {path: value}
    for field, allowed in conditions(stage, path).items():
        if field not in spaces:
            continue
        default = spaces[field].default
        allowed_value = default if any(alike(default, choice) for choice in allowed) else allowed[0]
        required = reaching(stage, field, spaces[field].read(allowed_value))
        if required is None or any(
            params.get(name, needed) != needed for name, needed in required.items()
        ):
            return None
        params |= required
    ordered = {name: params[name] for name in search_order(stage) if name in params}
    return ordered if all(is_active(stage, name, ordered) for name in ordered) else None


def variants(stage: StageSchema) -> list[dict[str, Value]]:
    """Parameters of trials: trial 0, each field's ends and choices, and combinations of them.

    Combined are the fields whose values, alone or together, may be invalid: choices, whole numbers,
    counts of steps, and fields that other fields are computed from.
    """
    trials: list[dict[str, Value]] = [{}]
    for path, space in stage.space().items():
        reached = (reaching(stage, path, value) for value in space.spread(SINGLE))
        trials += [params for params in reached if params is not None]
    unique = {tuple(sorted(params.items())): params for params in (*trials, *_combined(stage))}
    return list(unique.values())


def _combined(stage: StageSchema) -> Iterator[dict[str, Value]]:
    spaces, tied = stage.space(), _tied(stage)
    paths = [
        path
        for path in search_order(stage)
        if spaces[path].discrete or path in tied or path in _COUNTED
    ]
    values = [spaces[path].spread(8) for path in paths]
    if math.prod(map(len, values)) > LIMIT:
        values = [spaces[path].ends() for path in paths]
    count = math.prod(map(len, values))
    draw = random.Random(0)
    grid = (
        product(*values)
        if count <= LIMIT
        else (tuple(map(draw.choice, values)) for _ in range(LIMIT))
    )
    for combination in grid if len(paths) > 1 else ():
        yield _active(stage, dict(zip(paths, combination, strict=True)))


def _tied(stage: StageSchema) -> set[str | None]:
    """Fields that other fields are computed from."""
    return {
        locate(stage, name, path)
        for path, value in stage.fields()
        if isinstance(value, Expression)
        for name in value.names
    }


def _active(stage: StageSchema, values: Mapping[str, Value]) -> dict[str, Value]:
    active: dict[str, Value] = {}
    for path, value in values.items():
        if is_active(stage, path, active):
            active[path] = value
    return active
