"""Rows of a stage's splits: from the built-in tasks, reasoning_gym, a local file, or the hub.

Rows are in TRL's conversational form: `prompt` is a list of messages; `completion`, `chosen` and
`rejected` are lists with the assistant's message; `label` is whether a completion is good;
`answer` is the right answer as text, if there is any; `entry` is a problem of reasoning_gym.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice

from align.data import arithmetic
from align.data.files import conversational, cut, mixed, read, source_of, stamp
from align.data.problems import Split
from align.data.prompts import prompt_key, shown
from align.data.user_rows import Row
from align.errors import DataError
from align.methods import METHODS, MethodName, names_of
from align.recipe import DataConfig, Recipe

#: The builders of the built-in task's rows, by the names of formats.
_TASK_ROWS: dict[str, Callable[..., Row]] = {
    "prompt-completion": arithmetic.sft_row,
    "preference": arithmetic.pair_row,
    "prompt with answer": arithmetic.prompt_row,
    "unpaired preference": arithmetic.labelled_row,
}


def load_split(recipe: Recipe, stage: str, split: Split, seed: int | None = None) -> list[Row]:
    """A stage's rows of a split, the same for the same recipe and seed.

    DataError names a missing file, column or row.
    """
    return split_rows(recipe.data_of(stage), recipe.stages[stage].method, split, seed)


def split_rows(
    data: DataConfig, method: MethodName, split: Split, seed: int | None = None
) -> list[Row]:
    """The rows of a split of `data` in the form for `method`; see `load_split`."""
    seed = data.seed if seed is None else seed
    return _rows(data.model_dump_json(), method, split, seed, stamp(data))


def load_answers(recipe: Recipe, split: Split, seed: int | None = None) -> list[Row]:
    """Prompts of a split with checkable answers, for evaluation; empty if there are none."""
    stage = answers_stage(recipe)
    return [] if stage is None else load_split(recipe, stage, split, seed)


def answers_stage(recipe: Recipe) -> str | None:
    """The stage whose rows have checkable answers, an online stage first; None if none has."""
    for stage in _asked_stages(recipe):
        data, method = recipe.data_of(stage), recipe.stages[stage].method
        if data.task is not None or all("answer" in row for row in _whole_of(data, method)):
            return stage
    return None


def _asked_stages(recipe: Recipe) -> list[str]:
    stages = [name for name, stage in recipe.stages.items() if stage.training_method.answerable]
    return sorted(stages, key=lambda name: not recipe.stages[name].training_method.online)


def fingerprint(rows: list[Row]) -> str:
    """SHA-256 over the rows' content, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def check_disjoint(splits: dict[str, list[Row]]) -> None:
    """DataError if a prompt is in two splits."""
    owner: dict[str, str] = {}
    for name, rows in splits.items():
        for row in rows:
            key = prompt_key(row["prompt"])
            if owner.setdefault(key, name) != name:
                raise DataError(f"the prompt {shown(key)} stands in both {owner[key]} and {name}")


@lru_cache(maxsize=64)
def _rows(
    data_json: str, method: MethodName, split: Split, seed: int, stamp: tuple[int, int] | None
) -> list[Row]:
    data = DataConfig.model_validate_json(data_json)
    if data.task is not None:
        generated = list(islice(_generated(data, method, split, seed), _size(data, split)))
        if len(generated) < _size(data, split):
            size = "test" if split == "live" else split
            raise DataError(
                f"task '{data.task}' has only {len(generated)} different prompts for {split}, and "
                f"data.{size} asks for {_size(data, split)}: lower it to {len(generated)}"
            )
        return generated
    rows = cut(_whole_of(data, method), data, split, source_of(data))
    # TRL's KTO keeps the order of the rows and pairs each prompt with its neighbour's answer.
    return mixed(rows, seed) if METHODS[method].mixes_rows else rows


def _whole_of(data: DataConfig, method: MethodName) -> list[Row]:
    return _whole(data.model_dump_json(), method, stamp(data))


@lru_cache(maxsize=8)
def _whole(data_json: str, method: MethodName, stamp: tuple[int, int] | None) -> list[Row]:
    data = DataConfig.model_validate_json(data_json)
    return conversational(read(data), method, source_of(data))


def _size(data: DataConfig, split: Split) -> int:
    return {"train": data.train, "validation": data.validation}.get(split, data.test)


def _generated(data: DataConfig, method: MethodName, split: Split, seed: int) -> Iterator[Row]:
    if data.task != "arithmetic" and not METHODS[method].online:
        raise DataError(
            f"task '{data.task}' has prompts and no worked solutions, so it is for "
            f"{' and '.join(names_of('online'))} alone; "
            f"{method} needs task 'arithmetic', a file (path) or a dataset"
        )
    if data.task == "expressions":
        yield from arithmetic.expression_rows(seed, split)
        return
    if data.task != "arithmetic":
        from align.data.reasoning import problem_rows

        yield from problem_rows(str(data.task), data.task_config or {}, seed, split)
        return
    build, stream = _TASK_ROWS[METHODS[method].task_format], METHODS[method].task_stream
    rng = random.Random(f"{method} {seed} {split}")
    # Each method draws its own problems, so that DPO does not repeat those of SFT.
    for problem in arithmetic.problems(seed * 10 + stream, split):
        yield build(problem, rng)
