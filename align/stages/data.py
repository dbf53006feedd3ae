"""Rows of a stage's splits: from the built-in tasks, a local file, or the hub.

Rows are in TRL's conversational form: `prompt` a list of messages; `completion`, `chosen` and
`rejected` lists with the assistant's message; `answer` a string where there is one to check.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice

from align.errors import DataError
from align.recipe import DataConfig, Recipe
from align.recipe.model import Method
from align.recipe.rows import Row
from align.stages import arithmetic
from align.stages.arithmetic import Split
from align.stages.files import conversational, cut, prompt_key, read


def load_split(recipe: Recipe, stage: str, split: Split, seed: int | None = None) -> list[Row]:
    """A stage's rows of one split, always the same for the same recipe and seed.

    DataError names a missing file, column or row.
    """
    data, method = recipe.data_of(stage), recipe.stages[stage].method
    return _rows(data.model_dump_json(), method, split, data.seed if seed is None else seed)


def load_answers(recipe: Recipe, split: Split, seed: int | None = None) -> list[Row]:
    """Prompts with checkable answers of a split, for evaluation; empty where there are none."""
    stages = sorted(recipe.stages, key=lambda name: recipe.stages[name].method != "grpo")
    for stage in stages:
        if recipe.stages[stage].method in ("grpo", "sft"):
            rows = load_split(recipe, stage, split, seed)
            if all("answer" in row for row in rows):
                return rows
    return []


def fingerprint(rows: list[Row]) -> str:
    """SHA-256 over the rows' content, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def check_disjoint(splits: dict[str, list[Row]]) -> None:
    """DataError if a prompt stands in two splits."""
    owner: dict[str, str] = {}
    for name, rows in splits.items():
        for row in rows:
            key = prompt_key(row)
            if owner.setdefault(key, name) != name:
                raise DataError(f"the prompt {key[:80]!r} stands in both {owner[key]} and {name}")


@lru_cache(maxsize=32)
def _rows(data_json: str, method: Method, split: Split, seed: int) -> list[Row]:
    data = DataConfig.model_validate_json(data_json)
    if data.task is not None:
        return list(islice(_generated(data, method, split, seed), _size(data, split)))
    source = data.path or str(data.dataset)
    return cut(conversational(read(data), method, source), data, split, source)


def _size(data: DataConfig, split: Split) -> int:
    return {"train": data.train, "validation": data.validation}.get(split, data.test)


def _generated(data: DataConfig, method: Method, split: Split, seed: int) -> Iterator[Row]:
    if data.task == "expressions":
        if method != "grpo":
            raise DataError(f"task 'expressions' has prompts only; {method} needs 'arithmetic'")
        yield from arithmetic.expression_rows(seed, split)
        return
    make: dict[Method, Callable[..., Row]] = {
        "sft": arithmetic.sft_row,
        "reward": arithmetic.pair_row,
        "dpo": arithmetic.pair_row,
        "grpo": arithmetic.prompt_row,
    }
    rng = random.Random(f"{method} {seed} {split}")
    # Each method draws its own problems, so that DPO does not repeat what SFT has shown.
    for problem in arithmetic.problems(_stream(seed, method), split):
        yield make[method](problem, rng)


def _stream(seed: int, method: Method) -> int:
    return seed * 10 + ("sft", "reward", "dpo", "grpo").index(method)
