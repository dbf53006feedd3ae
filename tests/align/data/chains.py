"""Recipes of stages that build on each other."""

from typing import Any

from align.recipe import Recipe, parse_recipe

OBJECTIVES = {"sft": "nll", "reward": "pair_accuracy", "dpo": "pair_accuracy", "grpo": "reward"}


def recipe(**stages: dict[str, Any]) -> Recipe:
    common = {"learning_rate": 1e-4, "max_steps": 1}
    raw = {}
    for name, own in stages.items():
        method = own.get("method", name)
        raw[name] = {"method": method, "objective": OBJECTIVES[method], **common, **own}
        if method == "grpo":
            raw[name].setdefault("rewards", {"correctness": 1.0})
    return parse_recipe({"name": "mine", "base": "tiny-random", "stages": raw})
