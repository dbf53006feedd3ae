"""Scores of texts by rewards as a recipe names them."""

from __future__ import annotations

from typing import Any

from align.recipe.rewards import configure
from align.rewards import Rewards

ASK = [{"role": "user", "content": "What is 3 + 4?"}]
MOODY = """
def moody(completion):
    if completion == "raise":
        raise KeyError("lost")
    return {"nan": float("nan"), "inf": float("inf"), "none": None, "text": "1", "list": [1]}.get(
        completion, 0.5
    )
"""


def parts(raw, texts, columns=None, **more):
    rewards = Rewards(configure(raw), **more)
    return rewards.parts([ASK] * len(texts), texts, columns or {}), rewards


def value(raw, text, **columns):
    """The one reward of one text."""
    found, rewards = parts(raw, [text], {name: [one] for name, one in columns.items()})
    assert not rewards.failures
    return next(iter(found.values()))[0]


#: Options of the rewards that need any.
OPTIONS: dict[str, dict[str, Any]] = {
    "format": {"pattern": "a"},
    "get_cosine_scaled_reward": {"max_len": 10},
    "get_soft_overlong_punishment": {"max_completion_len": 8, "soft_punish_cache": 4},
}
