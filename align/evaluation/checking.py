"""What can be said of answers to these rows: which are right, and which rewards can be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from align.data.user_rows import Row
from align.recipe.rewards import RewardConfig
from align.rewards import correctness
from align.rewards.scorers import TOKENS, scorer


def accuracies(rows: Sequence[Row], texts: Sequence[str]) -> list[float]:
    """1 where an answer is right, else 0; nothing where the rows have no answers.

    Problems of reasoning_gym (column `entry`) are scored by their own task, and right at 1.
    """
    if not all("answer" in row for row in rows):
        return []
    return [_right(row, text) for row, text in zip(rows, texts, strict=True)]


def _right(row: Row, text: str) -> float:
    if row.get("entry") is None:
        return correctness(text, str(row["answer"]))
    from align.data.reasoning import score

    return float(score(text, row["entry"]) >= 1.0)


def measurable(
    configs: Mapping[str, RewardConfig], columns: Mapping[str, Sequence[Any]]
) -> dict[str, RewardConfig]:
    """The rewards that rows with these columns can be given."""
    have = {*columns, TOKENS}
    return {
        name: one
        for name, one in configs.items()
        if name == "reward_model" or have.issuperset(scorer(name, one).needs)
    }
