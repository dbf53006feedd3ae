"""The rewards of a recipe, and diagnostics of reward hacking."""

from align.rewards.answers import brevity, correctness, last_number
from align.rewards.judge import Judge
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
