"""Recipes of a stage, TRL's class for it, and what is said of a wrong one."""

from importlib import import_module
from typing import Any

import pytest

from align.errors import RecipeError
from align.methods import METHODS, MethodName
from align.recipe import Recipe, StageConfig, parse_recipe


def stage(method: MethodName, **fields: Any) -> dict[str, Any]:
    """A stage of this method with fields changed."""
    raw = {
        "method": method,
        "learning_rate": 1e-3,
        "max_steps": 12,
        "objective": METHODS[method].objectives[-1],
        "rewards": {"correctness": 1.0} if METHODS[method].online else {},
    }
    return {**raw, **fields}


def recipe(method: MethodName, **fields: Any) -> Recipe:
    return parse_recipe(
        {
            "name": "tiny",
            "base": "tiny-random",
            "data": {"task": "arithmetic"},
            "stages": {"one": stage(method, **fields)},
        }
    )


def config(method: MethodName, **fields: Any) -> StageConfig:
    return recipe(method, **fields).stages["one"]


def refusal(method: MethodName, **fields: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(method, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def config_class(method: MethodName) -> Any:
    """The class of TRL, which is imported only here."""
    module = METHODS[method].config_file.removesuffix(".py").replace("/", ".")
    return getattr(import_module(f"trl.{module}"), METHODS[method].config_class)
