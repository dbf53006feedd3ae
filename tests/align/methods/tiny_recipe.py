"""A recipe of a single short stage, by any method."""

from __future__ import annotations

from typing import Any

from align.methods import METHODS
from align.recipe import Recipe, parse_recipe


def recipe(method: str, **fields: Any) -> Recipe:
    """A stage of three steps on the built-in task; online methods write few short completions."""
    own: dict[str, Any] = {"max_length": 512}
    if METHODS[method].online:
        own = {"num_generations": 2, "max_completion_length": 4, "rewards": {"correctness": 1.0}}
    return parse_recipe(
        {
            "name": "tiny",
            "base": "tiny-random",
            "data": {"task": "arithmetic", "train": 16, "validation": 8, "test": 4},
            "evaluation": {"max_new_tokens": 4},
            "stages": {
                "one": {
                    "method": method,
                    "objective": METHODS[method].objectives[-1],
                    "learning_rate": 1.0e-3,
                    "max_steps": 3,
                    "per_device_train_batch_size": 4,
                    "sweep": {"rungs": [1]},
                    **own,
                    **fields,
                }
            },
        }
    )
