"""The rewards that a recipe can name. Importing them imports neither torch nor TRL."""

from align.rewards.base import RewardConfig
from align.rewards.builtin.correctness import Correctness
from align.rewards.builtin.reasoning_gym import ReasoningGym
from align.rewards.builtin.reward_model import RewardModel
from align.rewards.builtin.text import Brevity, Format, Length, Repetition
from align.rewards.builtin.trl import (
    Accuracy,
    CosineScaled,
    ReasoningAccuracy,
    RepetitionPenalty,
    SoftOverlong,
    ThinkFormat,
)

#: Built-in rewards by name; TRL's rewards have their names in `trl.rewards`.
BUILTIN: dict[str, type[RewardConfig]] = {
    "correctness": Correctness,
    "brevity": Brevity,
    "format": Format,
    "length": Length,
    "repetition": Repetition,
    "reward_model": RewardModel,
    "reasoning_gym": ReasoningGym,
    "accuracy_reward": Accuracy,
    "reasoning_accuracy_reward": ReasoningAccuracy,
    "think_format_reward": ThinkFormat,
    "get_cosine_scaled_reward": CosineScaled,
    "get_repetition_penalty_reward": RepetitionPenalty,
    "get_soft_overlong_punishment": SoftOverlong,
}
