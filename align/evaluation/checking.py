"""Which answers to rows are correct, and which rewards the rows' columns allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from align.data.user_rows import Row
from align.rewards import correctness
from align.rewards.base import TOKENS, RewardConfig


def accuracies(rows: Sequence[Row], texts: Sequence[str]) -> list[float]:
    """1 for each correct answer, else 0; an empty list unless all rows have a column `answer`.

    Problems of reasoning_gym (column `entry`) are scored by their own task; a score of 1 is
    correct.
    """
    if not all("answer" in row for row in rows):
        return []
    return [_right(row, text) for row, text in zip(rows, texts, strict=True)]


def _right(row: Row, text: str) -> float:
    if row.get("entry") is None:
        return correctness(text, str(row["answer"]))
    from align.reasoning_tasks import score

    return float(score(text, row["entry"]) >= 1.0)


def measurable(
    configs: Mapping[str, RewardConfig], columns: Mapping[str, Sequence[Any]]
) -> dict[str, RewardConfig]:
    """The rewards that can be computed, with their factors, from rows with these columns."""
    available = {*columns, TOKENS}
    computed = {
        name
        for name, config in configs.items()
        if (scorer := config.scorer(name)) is None or available.issuperset(scorer.needs)
    }
    return {
        name: config
        for name, config in configs.items()
        if name in computed and (config.times is None or config.times in computed)
    }
