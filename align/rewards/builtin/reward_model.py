"""The reward of a trained reward model, which judges answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from align.rewards.base import RewardConfig

if TYPE_CHECKING:
    from align.inference.types import Engine, Messages


class RewardModel(RewardConfig):
    """The preference of the stage's judge, from 0 to 1."""

    def scorer(self, name: str) -> None:
        """None: a `Judge` scores all answers in a batch."""


@dataclass(frozen=True)
class Judge:
    """A reward adapter that an engine has loaded.

    `mean` and `std` are of its scores of the chosen answers of its validation pairs. Raw scores
    have no scale: without them, a model that has learned style first would rate every answer in
    that style as perfect.
    """

    engine: Engine
    adapter: str
    mean: float = 0.0
    std: float = 1.0

    def preference(self, score: float) -> float:
        """A score relative to those of chosen answers: the logistic of its z-score, in (0, 1)."""
        z = (score - self.mean) / self.std
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, z))))

    def preferences(self, prompts: Sequence[Messages], texts: Sequence[str]) -> list[float]:
        """The preference for each text. Errors of the engine are not caught."""
        conversations = [
            [*prompt, {"role": "assistant", "content": text}]
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        return [self.preference(score) for score in self.engine.score(conversations, self.adapter)]
