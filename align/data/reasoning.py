"""Problems of reasoning_gym, divided into splits."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

from align.data.problems import Split, split_of
from align.data.user_rows import Row
from align.errors import DataError
from align.reasoning_tasks import SIZE, dataset, entry_text


def problem_rows(task: str, config: Mapping[str, Any], seed: int, split: Split) -> Iterator[Row]:
    """Distinct problems of `reasoning_gym/<name>` in a split, the same for the same seed.

    Rows have `prompt`, `answer` (empty if the task has no single right answer) and `entry`, the
    text that `score` takes. The hash of a problem's question decides its split, independent of
    `config` and seed. DataError if the package is missing, the task or a field of `config` is
    unknown, a value is refused, or the task runs out of problems.
    """
    name = task.partition("/")[2]
    rng, seen, yielded, drawn = random.Random(f"{task} {seed}"), set[str](), 0, 0
    while True:
        problems = dataset(name, json.dumps(dict(config)), rng.getrandbits(31))
        before = yielded
        for index in range(SIZE):
            entry = problems[index]
            drawn += 1
            key = " ".join(entry["question"].split())
            if key in seen or split_of(key) != split:
                continue
            seen.add(key)
            yielded += 1
            yield _row(name, config, entry)
        if yielded == before:  # none of a whole dataset is new: the task has run out of problems
            size = "test" if split == "live" else split
            raise DataError(
                f"task '{task}' gave only {yielded} different problems for {split} in {drawn} "
                f"draws; lower data.{size}, or widen data.task_config"
            )


def _row(name: str, config: Mapping[str, Any], entry: dict[str, Any]) -> Row:
    answer = entry["answer"]
    return {
        "prompt": [{"role": "user", "content": entry["question"]}],
        "answer": "" if answer is None else str(answer),
        "entry": entry_text(name, config, entry),
    }
