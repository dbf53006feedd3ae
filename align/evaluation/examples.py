"""Per-example rows of an evaluation, stored in the adapter's folder. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align.data.user_rows import Row
from align.errors import AdapterError
from align.evaluation.metrics import Evaluation
from align.rewards.reward_diagnostics import repetition

EXAMPLES = "evaluation.jsonl"


@dataclass(frozen=True)
class Example:
    """A held-out item and a system's results on it.

    `items` is the item's set (see `Evaluation`). `key` identifies the item and does not depend on
    the adapter. `text` is the greedy answer; empty if there is none.
    """

    items: str
    key: str
    split: str
    prompt: str
    text: str = ""
    numbers: dict[str, float] = field(default_factory=dict)


def key(row: Row, *sides: str) -> str:
    """SHA-256 over the prompt and the columns `sides`; its first 16 hexadecimal digits."""
    content = {name: row[name] for name in ("prompt", *sides)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def prompt_text(prompt: Sequence[Mapping[str, Any]]) -> str:
    """A conversation as a text; a single turn is its content without the role."""
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)


def named(items: str, rows: Sequence[Row], *sides: str) -> dict[str, Any]:
    """The fields `keys` and `prompts` of an `Evaluation` for the set `items`."""
    return {
        "keys": {items: [key(row, *sides) for row in rows]},
        "prompts": {items: [prompt_text(row["prompt"]) for row in rows]},
    }


def examples(evaluation: Evaluation) -> list[Example]:
    """Every item that was measured, set by set, in the split's order."""
    rows = []
    for items, lists in evaluation.numbers().items():
        answered = items == "answers"
        lists = dict(lists)
        if answered and evaluation.texts:
            lists["repetition"] = [repetition([text]) or 0.0 for text in evaluation.texts]
        for index, (item_key, prompt) in enumerate(
            zip(evaluation.keys[items], evaluation.prompts[items], strict=True)
        ):
            numbers = {name: values[index] for name, values in lists.items()}
            rows.append(
                Example(
                    items,
                    item_key,
                    evaluation.split,
                    prompt,
                    evaluation.texts[index] if answered and evaluation.texts else "",
                    {name: value for name, value in numbers.items() if math.isfinite(value)},
                )
            )
    return rows


def write_examples(folder: Path, evaluation: Evaluation) -> None:
    """Write the adapter folder's rows, a JSON object a line."""
    lines = (
        json.dumps(vars(example), ensure_ascii=False) + "\n" for example in examples(evaluation)
    )
    (folder / EXAMPLES).write_text("".join(lines), encoding="utf-8")


def read_examples(folder: Path) -> list[Example]:
    """The adapter folder's rows. AdapterError if the file is missing or a row is damaged."""
    path = folder / EXAMPLES
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AdapterError(
            f"{folder}: no {EXAMPLES}; only adapters that were measured have one: search its "
            "stage again with `alignery sweep run RECIPE --only STAGE --fresh`"
        ) from None
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            if line:
                rows.append(Example(**json.loads(line)))
        except (TypeError, ValueError) as error:
            raise AdapterError(
                f"{path}: line {number} is damaged: {error}; fetch or publish the adapter again"
            ) from None
    return rows
