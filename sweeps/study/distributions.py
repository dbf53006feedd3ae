"""A recipe's search spaces as Optuna's distributions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)

from align.recipe import Space, StageConfig
from align.space.spaces import Value

Distribution = CategoricalDistribution | IntDistribution | FloatDistribution


def distribution(space: Space) -> Distribution:
    """The distribution over the values of `space`, on the same scale."""
    return cast(Distribution, json_to_distribution(json.dumps(space.distribution())))


def words(over: Distribution) -> str:
    """A distribution in the notation of recipes."""
    if isinstance(over, CategoricalDistribution):
        return f"choice {list(over.choices)}"
    if isinstance(over, IntDistribution):
        return f"int [{over.low}, {over.high}]{' on a log scale' if over.log else ''}"
    kind = "loguniform" if over.log else "uniform"
    return f"{kind} [{over.low:g}, {over.high:g}]"


def whole(stage: StageConfig, params: Mapping[str, Value]) -> dict[str, Value]:
    """A complete point: `params`, completed by defaults, without parameters that are inactive."""
    spaces = stage.space()
    chosen: dict[str, Value] = {}
    for path in stage.search_order():
        if stage.is_active(path, chosen):
            chosen[path] = params.get(path, spaces[path].default)
    return {path: chosen[path] for path in spaces if path in chosen}


def suggest(trial: Any, stage: StageConfig, reseed: Callable[[str], None]) -> dict[str, Value]:
    """One value for each active space. Values that the Optuna `trial` already holds stay.

    `reseed(path)` is called before each value that may have to be drawn. So a trial that had only
    some values stored when its driver was killed gets the same other values as without the kill.
    """
    spaces = stage.space()
    chosen: dict[str, Value] = {}
    for path in stage.search_order():
        if stage.is_active(path, chosen):
            reseed(path)
            chosen[path] = _suggest(trial, path, distribution(spaces[path]))
    return {path: chosen[path] for path in spaces if path in chosen}


def _suggest(trial: Any, path: str, target: Distribution) -> Any:
    if isinstance(target, CategoricalDistribution):
        return trial.suggest_categorical(path, target.choices)
    if isinstance(target, IntDistribution):
        return trial.suggest_int(path, target.low, target.high, step=target.step, log=target.log)
    return trial.suggest_float(path, target.low, target.high, step=target.step, log=target.log)
