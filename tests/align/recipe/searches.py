"""What a stage says of its search."""

from typing import Any

from align.recipe import SweepConfig, parse_recipe


def sweep(**fields: Any) -> SweepConfig:
    stage = {
        "method": "sft",
        "learning_rate": {"loguniform": [1e-4, 1e-2]},
        "max_steps": 10,
        "objective": "nll",
        "sweep": fields,
    }
    data = {"task": "arithmetic"}
    raw = {"name": "tiny", "base": "tiny-random", "data": data, "stages": {"sft": stage}}
    return parse_recipe(raw).stages["sft"].sweep
