"""A recipe's search spaces in Optuna's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from align.recipe import Space


def distribution(space: Space) -> BaseDistribution:
    """The distribution over what `space` contains, on the same scale."""
    if space.kind == "choice":
        return CategoricalDistribution(space.values)
    if space.kind == "int":
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)


def suggest(trial: Any, spaces: Mapping[str, Space]) -> dict[str, Any]:
    """One value for each space. What `trial` (of Optuna) already holds, it keeps."""
    return {path: _suggest(trial, path, distribution(space)) for path, space in spaces.items()}


def _suggest(trial: Any, path: str, over: BaseDistribution) -> Any:
    if isinstance(over, CategoricalDistribution):
        return trial.suggest_categorical(path, over.choices)
    if isinstance(over, IntDistribution):
        return trial.suggest_int(path, over.low, over.high, log=over.log)
    return trial.suggest_float(path, over.low, over.high, log=over.log)
