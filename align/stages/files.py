"""Rows of a user's file or a hub dataset, in TRL's conversational form, cut into splits."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from align.errors import DataError
from align.recipe import DataConfig
from align.recipe.model import Method
from align.recipe.rows import Row, read_rows
from align.stages.arithmetic import Split

Messages = list[dict[str, str]]

#: Columns that each method needs, one of the alternatives.
NEEDED: dict[Method, tuple[tuple[str, ...], ...]] = {
    "sft": (("prompt", "completion"), ("messages",)),
    "reward": (("chosen", "rejected"),),
    "dpo": (("chosen", "rejected"),),
    "grpo": (("prompt",),),
}


def read(data: DataConfig) -> dict[int, Row]:
    """The rows by number. DataError if the file or dataset cannot be read."""
    if data.path is not None:
        return read_rows(Path(data.path))
    from datasets import load_dataset

    try:
        rows = load_dataset(data.dataset, split=data.split)
        return dict(enumerate(rows, start=1))
    except Exception as error:  # datasets raises many kinds; each means the same to a user
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise DataError(
            f"dataset '{data.dataset}' (split '{data.split}') cannot be read: {reason}. "
            "Is the hub reachable, or name a local file with data.path"
        ) from None


def conversational(rows: Mapping[int, Row], method: Method, source: str) -> list[Row]:
    """TRL's conversational form with an explicit prompt.

    DataError names missing columns with those that are there, or the first row that is not whole.
    """
    if not rows:
        raise DataError(f"{source}: no rows")
    first, choices = next(iter(rows.values())), NEEDED[method]
    columns = next((one for one in choices if set(one) <= set(first)), None)
    if columns is None:
        wanted = " or ".join(" + ".join(one) for one in choices)
        raise DataError(
            f"{source}: {method} needs the columns {wanted}; found {', '.join(sorted(first))}"
        )
    done = []
    for number, row in rows.items():
        where = f"{source}: row {number}"
        for column in columns:
            if not row.get(column):
                raise DataError(f"{where}: column '{column}' is empty")
        done.append(_converted(row, columns, where))
    return done


def _converted(row: Row, columns: tuple[str, ...], where: str) -> Row:
    if columns == ("messages",):
        messages = list(row["messages"])
        if len(messages) < 2 or messages[-1].get("role") != "assistant":
            raise DataError(f"{where}: messages must end with an assistant's turn after a prompt")
        parts: Row = {"prompt": messages[:-1], "completion": messages[-1:]}
    elif "prompt" in row:
        parts = {"prompt": _turns(row["prompt"], "user")}
        for column in columns:
            if column != "prompt":
                turns = _turns(row[column], "assistant")
                head = len(parts["prompt"])
                parts[column] = turns[head:] if turns[:head] == parts["prompt"] else turns
    else:
        parts = _implicit_prompt(row, where)
    if row.get("answer") is not None:
        parts["answer"] = str(row["answer"])
    return parts


def _implicit_prompt(row: Row, where: str) -> Row:
    """What chosen and rejected begin with alike is the prompt, as in TRL."""
    chosen, rejected = row["chosen"], row["rejected"]
    if isinstance(chosen, str) or isinstance(rejected, str):
        prefix = os.path.commonprefix([chosen, rejected])  # noqa: RUF071, characters are meant
        prefix = prefix[: prefix.rfind(" ") + 1]
        if not prefix.strip():
            raise DataError(f"{where}: no column 'prompt', and chosen and rejected begin apart")
        return {
            "prompt": _turns(prefix.rstrip(), "user"),
            "chosen": _turns(chosen[len(prefix) :], "assistant"),
            "rejected": _turns(rejected[len(prefix) :], "assistant"),
        }
    pairs = zip(chosen, rejected, strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    if not 0 < shared < min(len(chosen), len(rejected)):
        raise DataError(f"{where}: chosen and rejected must share a prompt and then differ")
    return {"prompt": chosen[:shared], "chosen": chosen[shared:], "rejected": rejected[shared:]}


def _turns(value: Any, role: str) -> Messages:
    return [{"role": role, "content": value}] if isinstance(value, str) else list(value)


def prompt_key(row: Row) -> str:
    """What makes two rows the same problem: the text of the prompt."""
    return json.dumps(row["prompt"], sort_keys=True)


def cut(rows: list[Row], data: DataConfig, split: Split, source: str) -> list[Row]:
    """A split's rows, in the order of their prompts' hashes; equal prompts stay together."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(prompt_key(row), []).append(row)
    order = sorted(groups, key=lambda key: hashlib.sha256(f"{data.seed} {key}".encode()).digest())
    sizes = {"test": data.test, "validation": data.validation, "train": data.train}
    keys, parts = iter(order), {}
    for name, size in sizes.items():
        part: list[Row] = []
        while len(part) < size and (key := next(keys, None)) is not None:
            part += groups[key]
        parts[name] = part[:size]
    if any(len(parts[name]) < size for name, size in sizes.items()):
        wanted = " + ".join(f"{name} {size}" for name, size in sizes.items())
        raise DataError(
            f"{source}: {len(rows)} rows with {len(groups)} different prompts are too few for "
            f"{wanted} without a prompt in two of them: lower these numbers in the recipe's data"
        )
    return parts["test" if split == "live" else split]
