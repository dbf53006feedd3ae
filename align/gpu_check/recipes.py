"""The recipe of the checks that train: every method, a few steps each, on one parent."""

from __future__ import annotations

from typing import Any

from align.methods import METHODS, names_of
from align.recipe import Recipe, parse_recipe

PARENT = "parent"
STEPS = 2
#: Longer than every row of the built-in task, also in bytes.
MAX_LENGTH = 1024


def recipe(base: str, max_length: int = MAX_LENGTH) -> Recipe:
    """A stage for each method, named after it, on the stage `parent`, which is SFT.

    `max_length` is the most tokens of a sequence.

    Online methods are judged by the stage of the reward model. Each stage has a rung, so that it is
    measured twice, and another worker can continue between.
    """
    stages = {PARENT: _stage("sft", 2e-3, max_length)}
    judge = names_of("trains_reward_model")[0]
    for method in METHODS:
        stages[method] = _stage(method, 1e-3, max_length) | {"parent": PARENT}
        if METHODS[method].online:
            stages[method] |= {
                "reward_model": judge,
                "rewards": {"correctness": 1.0, "reward_model": 0.3},
            }
    return parse_recipe(
        {
            "name": "gpu-check",
            "base": base,
            "data": {"task": "arithmetic", "train": 16, "validation": 4, "test": 4},
            "evaluation": {"max_new_tokens": 8},
            "stages": stages,
        }
    )


def _stage(method: str, learning_rate: float, max_length: int) -> dict[str, Any]:
    own: dict[str, Any] = {"max_length": max_length}
    if METHODS[method].online:
        own = {"num_generations": 2, "max_completion_length": 8}
    return {
        "method": method,
        "objective": METHODS[method].objectives[-1],
        "learning_rate": learning_rate,
        "lora": {"r": 4, "lora_alpha": 8},
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "sweep": {"rungs": [1]},
        **own,
    }
