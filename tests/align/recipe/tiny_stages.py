"""Stages and recipes on the built-in task, with what a test gives them."""

from typing import Any

from align.methods import METHODS, MethodName
from align.recipe import Recipe, StageConfig, parse_recipe

Raw = dict[str, Any]


def stage(method: MethodName, **fields: Any) -> Raw:
    raw = {
        "method": method,
        "learning_rate": 1e-3,
        "max_steps": 12,
        "objective": METHODS[method].objectives[-1],
        "rewards": {"correctness": 1.0} if method == "grpo" else {},
    }
    return {**raw, **fields}


def recipe(**stages: Raw) -> Recipe:
    data = {"task": "arithmetic", "train": 64}
    return parse_recipe({"name": "tiny", "base": "tiny-random", "data": data, "stages": stages})


def one(method: MethodName, **fields: Any) -> StageConfig:
    return recipe(one=stage(method, **fields)).stages["one"]
