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
from pathlib import Path
from typing import Any

from align.errors import DataError
from align.recipe import DataConfig, Recipe
from align.recipe.model import Method
from align.stages import arithmetic
from align.stages.arithmetic import Split

Row = dict[str, Any]

#: Columns that each method needs, one of the alternatives.
NEEDED: dict[Method, tuple[tuple[str, ...], ...]] = {
    "sft": (("prompt", "completion"), ("messages",)),
    "reward": (("chosen", "rejected"),),
    "dpo": (("chosen", "rejected"),),
    "grpo": (("prompt",),),
}


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


def prompt_key(row: Row) -> str:
    """What makes two rows the same problem: the text of the prompt."""
    return json.dumps(row["prompt"], sort_keys=True)


@lru_cache(maxsize=32)
def _rows(data_json: str, method: Method, split: Split, seed: int) -> list[Row]:
    data = DataConfig.model_validate_json(data_json)
    if data.task is not None:
        return list(islice(_generated(data, method, split, seed), _size(data, split)))
    rows = [_conversational(row) for row in _checked(_read(data), method, _source(data))]
    return _cut(rows, data, split, _source(data))


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


def _source(data: DataConfig) -> str:
    return data.path or data.dataset or f"task {data.task}"


def _read(data: DataConfig) -> list[Row]:
    from datasets import load_dataset

    if data.path is not None:
        path = Path(data.path)
        kinds = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
        if not path.is_file():
            raise DataError(f"{path}: no such file (data.path)")
        if path.suffix not in kinds:
            raise DataError(f"{path}: unknown kind of file; allowed: {', '.join(kinds)}")
        arguments: dict[str, Any] = {"path": kinds[path.suffix], "data_files": str(path)}
    else:
        arguments = {"path": data.dataset}
    try:
        return list(load_dataset(**arguments, split=data.split))
    except Exception as error:  # datasets raises many kinds; each means the same to a user
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise DataError(f"{_source(data)}: cannot be read as a dataset: {reason}") from None


def _checked(rows: list[Row], method: Method, source: str) -> list[Row]:
    if not rows:
        raise DataError(f"{source}: no rows")
    choices = NEEDED[method]
    columns = next((one for one in choices if set(one) <= set(rows[0])), None)
    if columns is None:
        wanted = " or ".join(" + ".join(one) for one in choices)
        raise DataError(
            f"{source}: {method} needs the columns {wanted}; found {', '.join(sorted(rows[0]))}"
        )
    for number, row in enumerate(rows, start=1):
        for column in columns:
            if not row.get(column):
                raise DataError(f"{source}: row {number}: column '{column}' is empty")
    return rows


def _conversational(row: Row) -> Row:
    """TRL's conversational form with an explicit prompt."""
    row = dict(row)
    if "messages" in row and "completion" not in row:
        messages = row.pop("messages")
        row["prompt"], row["completion"] = messages[:-1], messages[-1:]
    if "chosen" in row and "prompt" not in row:
        chosen, rejected = row["chosen"], row["rejected"]
        shared = sum(1 for a, b in zip(chosen, rejected, strict=False) if a == b)
        row["prompt"] = chosen[:shared]
        row["chosen"], row["rejected"] = chosen[shared:], rejected[shared:]
    if isinstance(row["prompt"], str):
        row["prompt"] = [{"role": "user", "content": row["prompt"]}]
    for column in ("completion", "chosen", "rejected"):
        value = row.get(column)
        if isinstance(value, str):
            row[column] = [{"role": "assistant", "content": value}]
        elif (
            isinstance(value, list)
            and len(value) > 1
            and value[: len(row["prompt"])] == row["prompt"]
        ):
            row[column] = value[len(row["prompt"]) :]
    if "answer" in row:
        row["answer"] = str(row["answer"])
    return row


def _cut(rows: list[Row], data: DataConfig, split: Split, source: str) -> list[Row]:
    """Rows in the order of their prompts' hashes, cut so that equal prompts stay together."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(prompt_key(row), []).append(row)
    order = sorted(groups, key=lambda key: hashlib.sha256(f"{data.seed} {key}".encode()).digest())
    sizes = {"test": data.test, "validation": data.validation, "train": data.train}
    wanted = sum(sizes.values())
    if len(rows) < wanted or len(groups) < len(sizes):
        raise DataError(
            f"{source}: {len(rows)} rows with {len(groups)} different prompts, but train + "
            f"validation + test ask for {wanted}: lower these numbers in the recipe's data"
        )
    keys, result = iter(order), []
    for name, size in sizes.items():
        part: list[Row] = []
        while len(part) < size and (key := next(keys, None)) is not None:
            part += groups[key]
        if name == split or (split == "live" and name == "test"):
            result = part[:size]
    if not result:
        raise DataError(f"{source}: nothing is left for {split}: too few different prompts")
    return result
