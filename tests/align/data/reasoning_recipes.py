"""Recipes on a task of reasoning_gym, which need not be installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from align.recipe import Recipe, parse_recipe

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None,
    reason="the extra 'reasoning' is not installed",
)


def recipe(task: str = "chain_sum", method: str = "grpo", **data: Any) -> Recipe:
    stage = {"method": method, "learning_rate": 1e-4, "max_steps": 1, "objective": "accuracy"}
    if method == "grpo":
        stage["rewards"] = {"reasoning_gym": 1.0}
    data = {"task": f"reasoning_gym/{task}", "train": 20, "validation": 8, "test": 10, **data}
    raw = {"name": "mine", "base": "tiny-random", "data": data, "stages": {"one": stage}}
    return parse_recipe(raw)
