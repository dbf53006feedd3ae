"""The reward of a reasoning_gym task."""

from __future__ import annotations

from typing import ClassVar

from align.rewards.base import AnswerReward, ScoredAnswer


class ReasoningGym(AnswerReward):
    """The task's own scoring of the answer, by the row's `entry`, from 0 to 1."""

    compared: ClassVar[tuple[str, ...]] = ("entry",)

    def score(self, answer: ScoredAnswer) -> float:
        """See `align.reasoning_tasks.score`."""
        from align.reasoning_tasks import score

        return score(answer.text, answer.column("entry"))
