"""Rewards: what a recipe can name, their weighted sum, and diagnostics of reward hacking."""

from align.rewards.builtin.correctness import correctness, last_number
from align.rewards.builtin.reward_model import Judge
from align.rewards.builtin.text import brevity
from align.rewards.reward_diagnostics import tells
from align.rewards.reward_sum import RewardFailure, Rewards, columns_of
from align.rewards.training import reward_functions

__all__ = [
    "Judge",
    "RewardFailure",
    "Rewards",
    "brevity",
    "columns_of",
    "correctness",
    "last_number",
    "reward_functions",
    "tells",
]
