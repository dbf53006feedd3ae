"""A recipe as plain data, to be changed in a field."""

import copy
from typing import Any

STAGE = {"method": "sft", "learning_rate": 1e-3, "max_steps": 10, "objective": "accuracy"}
RAW: dict[str, Any] = {
    "name": "tiny",
    "base": "tiny-random",
    "data": {"task": "arithmetic"},
    "stages": {"sft": STAGE},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """RAW with one field set, by dotted path."""
    raw = copy.deepcopy(RAW)
    *parents, last = path.split(".")
    block = raw
    for name in parents:
        block = block.setdefault(name, {})
    block[last] = value
    return raw
