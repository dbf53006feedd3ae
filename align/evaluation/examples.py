"""Per-example rows of an evaluation, kept beside the adapter that they are of. Imports no torch."""

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
    """One held-out item and what one system did on it.

    `items` is the set that it belongs to (see `Evaluation`), `key` the same for the same item
    whatever the adapter; `text` the greedy answer, where there is one.
    """

    items: str
    key: str
    split: str
    prompt: str
    text: str = ""
    numbers: dict[str, float] = field(default_factory=dict)


def key(row: Row, *sides: str) -> str:
    """SHA-256 over the prompt, and what is asked about it in the columns `sides`; 16 digits."""
    content = {name: row[name] for name in ("prompt", *sides)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def prompt_text(prompt: Sequence[Mapping[str, Any]]) -> str:
    """A conversation as one text: the user's words alone where there is nothing else."""
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)


def named(items: str, rows: Sequence[Row], *sides: str) -> dict[str, Any]:
    """The fields of an `Evaluation` that say which items a set has."""
    return {
        "keys": {items: [key(row, *sides) for row in rows]},
        "prompts": {items: [prompt_text(row["prompt"]) for row in rows]},
    }


def examples(evaluation: Evaluation) -> list[Example]:
    """Every item that was measured, set by set, in the split's order."""
    found = []
    for items, lists in evaluation.numbers().items():
        answered = items == "answers"
        lists = dict(lists)
        if answered and evaluation.texts:
            lists["repetition"] = [repetition([text]) or 0.0 for text in evaluation.texts]
        for at, (one, prompt) in enumerate(
            zip(evaluation.keys[items], evaluation.prompts[items], strict=True)
        ):
            numbers = {name: values[at] for name, values in lists.items()}
            found.append(
                Example(
                    items,
                    one,
                    evaluation.split,
                    prompt,
                    evaluation.texts[at] if answered and evaluation.texts else "",
                    {name: value for name, value in numbers.items() if math.isfinite(value)},
                )
            )
    return found


def write_examples(folder: Path, evaluation: Evaluation) -> None:
    """Write the adapter folder's rows, one JSON object a line."""
    lines = (json.dumps(vars(one), ensure_ascii=False) + "\n" for one in examples(evaluation))
    (folder / EXAMPLES).write_text("".join(lines), encoding="utf-8")


def read_examples(folder: Path) -> list[Example]:
    """The adapter folder's rows. AdapterError if there are none, or one is damaged."""
    path = folder / EXAMPLES
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AdapterError(
            f"{folder}: no {EXAMPLES}; only adapters that were measured have one: search its "
            "stage again with `alignery sweep run RECIPE --only STAGE --fresh`"
        ) from None
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            if line:
                found.append(Example(**json.loads(line)))
        except (TypeError, ValueError) as error:
            raise AdapterError(
                f"{path}: line {number} is damaged: {error}; fetch or publish the adapter again"
            ) from None
    return found
