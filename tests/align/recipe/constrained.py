"""Recipes with constraints."""

from typing import Any

from align.methods import METHODS, MethodName
from align.recipe import Recipe, parse_recipe

Raw = dict[str, Any]


def recipe(method: MethodName, *constraints: str, **fields: Any) -> Recipe:
    def stage(of: MethodName, **more: Any) -> Raw:
        rewards = {"correctness": 1.0, "brevity": 0.2} if METHODS[of].online else {}
        fixed = {"learning_rate": 1e-3, "max_steps": 8, "rewards": rewards}
        return {"method": of, "objective": METHODS[of].objectives[-1], **fixed, **more}

    judge = stage("reward") if method != "reward" else stage("sft")
    return parse_recipe(
        {
            "name": "tiny",
            "base": "tiny-random",
            "data": {"task": "arithmetic", "train": 64},
            "stages": {
                "first": stage("sft"),
                "judge": judge,
                "one": stage(
                    method, **{"parent": "first", "constraints": list(constraints), **fields}
                ),
            },
        }
    )
