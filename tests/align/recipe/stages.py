"""Recipes of stages by method, and what is said of wrong ones."""

from typing import Any

import pytest

from align.errors import RecipeError
from align.methods import METHODS, MethodName
from align.recipe import Recipe, StageConfig, parse_recipe

Raw = dict[str, Any]


def stage(method: MethodName, **fields: Any) -> Raw:
    """A stage of this method with fields changed."""
    raw = {
        "method": method,
        "learning_rate": 1e-3,
        "max_steps": 12,
        "objective": METHODS[method].objectives[-1],
        "rewards": {"correctness": 1.0} if METHODS[method].online else {},
    }
    return {**raw, **fields}


def recipe(**stages: Raw) -> Recipe:
    data = {"task": "arithmetic", "train": 64}
    return parse_recipe({"name": "tiny", "base": "tiny-random", "data": data, "stages": stages})


def one(method: MethodName, **fields: Any) -> StageConfig:
    return recipe(one=stage(method, **fields)).stages["one"]


def refusal(**stages: Raw) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(**stages)
    assert "\n" not in str(caught.value)
    return str(caught.value)
