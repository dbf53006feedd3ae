"""What an answer is worth: the rewards of a recipe, and how to tell that they are gamed."""

from align.stages.rewards.answers import brevity, correctness, last_number
from align.stages.rewards.judge import Judge
from align.stages.rewards.tells import tells
from align.stages.rewards.training import RewardFunction, reward_functions
from align.stages.rewards.weighted import Failure, Rewards, columns_of

__all__ = [
    "Failure",
    "Judge",
    "RewardFunction",
    "Rewards",
    "brevity",
    "columns_of",
    "correctness",
    "last_number",
    "reward_functions",
    "tells",
]
