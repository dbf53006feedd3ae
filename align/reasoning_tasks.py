"""Tasks of reasoning_gym: their datasets, and scores of answers. The package is imported on use."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np

from align.errors import DataError
from align.suggestions import did_you_mean

#: Problems in a dataset.
SIZE = 500
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def score(text: str, entry: str) -> float:
    """The task's own score of an answer, from 0 to 1: 1 for a right answer.

    `entry` is that of the row. The answer is the content of the last <answer>…</answer> in `text`,
    the form that reasoning_gym asks models for, else the whole text. DataError if the package is
    missing.
    """
    problem = json.loads(entry)
    # Nothing is drawn, so any seed will do.
    task = dataset(problem["task"], json.dumps(problem["config"]), 0)
    tagged = _TAGGED.findall(text)
    answer = (tagged[-1] if tagged else text).strip()
    return float(task.score_answer(answer, _decoded(problem["entry"])))


def entry_text(name: str, config: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """The text of a dataset's entry that `score` takes."""
    return json.dumps({"task": name, "config": dict(config), "entry": _encoded(entry)})


@lru_cache(maxsize=32)
def dataset(name: str, config_json: str, seed: int) -> Any:
    """The task's dataset. DataError names an unknown task, field or value."""
    try:
        from reasoning_gym.factory import DATASETS, create_dataset
    except ImportError as error:
        raise DataError(
            f"task 'reasoning_gym/{name}' needs the package reasoning-gym ({error}): "
            "pip install 'alignery[reasoning]'"
        ) from None
    config = json.loads(config_json)
    if name not in DATASETS:
        hint = did_you_mean(name, DATASETS, 3, after=" ")
        raise DataError(
            f"task 'reasoning_gym/{name}' is unknown; {hint}allowed: {', '.join(sorted(DATASETS))}"
        )
    allowed = [
        field.name for field in fields(DATASETS[name][1]) if field.name not in ("seed", "size")
    ]
    if unknown := sorted(set(config) - set(allowed)):
        raise DataError(
            f"task_config of reasoning_gym/{name} has {', '.join(unknown)}; allowed: "
            f"{', '.join(allowed)} (seed and sizes are those of the recipe's data)"
        )
    try:
        return create_dataset(name, **config, seed=seed, size=SIZE)
    except Exception as error:  # each task has its own checks, mostly assertions
        reason = str(error).strip() or repr(error)
        raise DataError(f"task_config of reasoning_gym/{name} is refused: {reason}") from None


def _encoded(value: Any) -> Any:
    """Encode a value as JSON that keeps tuples: scoring compares them, and lists are not equal."""
    if isinstance(value, tuple):
        return {"tuple": [_encoded(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_encoded(key), _encoded(item)] for key, item in value.items()]}
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict) and "tuple" in value:
        return tuple(_decoded(item) for item in value["tuple"])
    if isinstance(value, dict):
        return {_decoded(key): _decoded(item) for key, item in value["dict"]}
    return value
