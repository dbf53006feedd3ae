"""A recipe's rewards as TRL's GRPOTrainer calls them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from align.methods.specification import RewardFunction
from align.rewards.reward_sum import Rewards

#: Arguments that TRL passes besides the rows' columns.
_EXTRAS = frozenset({"trainer_state", "log_extra", "environments"})


def reward_functions(rewards: Rewards) -> list[tuple[str, float, RewardFunction]]:
    """A recipe's rewards as TRL takes them: (name, weight, function).

    Each logs `rewards/<name>/failed`, the share of completions for which it gave no number.
    """
    return [(name, weight, _function(rewards, name)) for name, weight in rewards.weights.items()]


def _function(rewards: Rewards, name: str) -> RewardFunction:
    def reward(
        prompts: list[Any],
        completions: list[Any],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        row_columns = {key: value for key, value in columns.items() if key not in _EXTRAS}
        texts = [turns[0]["content"] for turns in completions]
        values = rewards.part(name, prompts, texts, row_columns)
        results = [None if math.isnan(value) else value for value in values]
        if log_metric is not None:
            log_metric(f"rewards/{name}/failed", results.count(None) / max(1, len(results)))
        return results

    reward.__name__ = name
    return reward
