"""What an answer is worth: the rewards of a recipe, and how to tell that they are gamed."""

from align.rewards.answers import brevity, correctness, last_number
from align.rewards.judge import Judge
from align.rewards.reward_diagnostics import tells
from align.rewards.reward_sum import RewardFailure, Rewards, columns_of
from align.rewards.training import RewardFunction, reward_functions

__all__ = [
    "Judge",
    "RewardFailure",
    "RewardFunction",
    "Rewards",
    "brevity",
    "columns_of",
    "correctness",
    "last_number",
    "reward_functions",
    "tells",
]
