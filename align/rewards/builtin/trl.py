"""TRL's rewards, by their names in `trl.rewards`. TRL is imported when a scorer is made."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from align.rewards import mathematics
from align.rewards.base import TOKENS, RewardConfig, ScoredAnswer, Scorer


class TrlReward(RewardConfig):
    """A reward of TRL; its options are the arguments of TRL's function.

    Those with the column `answer` in `compared` read it as mathematics. They take a column
    `solution` too, so they need neither column to be there: a row without both is an error of
    that row.
    """

    #: Whether TRL's function counts the tokens of the completion.
    counts_tokens: ClassVar[bool] = False

    def scorer(self, name: str) -> Scorer:
        """TRL's reward, called for each sample alone so that a failure affects that sample only."""
        if self.compared:
            mathematics.check_installed(f"reward '{name}'")
        from trl import rewards

        options, function = self.model_dump(exclude={"weight"}), getattr(rewards, name)
        if name.startswith("get_"):
            function, options = function(**options), {}

        def score(answer: ScoredAnswer) -> Any:
            columns: dict[str, Any] = {}
            if self.counts_tokens:
                columns[TOKENS] = [answer.column(TOKENS)]
            if self.compared:
                solution = answer.columns.get("solution") or answer.column("answer")
                columns["solution"] = [str(solution)]
            message = {"role": "assistant", "content": answer.text}
            return function(completions=[[message]], **columns, **options)[0]

        return Scorer(score, (TOKENS,) if self.counts_tokens else ())


class Accuracy(TrlReward):
    """TRL's `accuracy_reward`, which compares the answer as mathematics."""

    compared: ClassVar[tuple[str, ...]] = ("answer",)


class ReasoningAccuracy(TrlReward):
    """TRL's `reasoning_accuracy_reward`, which judges the text after the last delimiter."""

    compared: ClassVar[tuple[str, ...]] = ("answer",)

    reasoning_delimiters: list[str] = Field(default=["</think>"], min_length=1)


class ThinkFormat(TrlReward):
    """TRL's `think_format_reward`."""


class CosineScaled(TrlReward):
    """TRL's `get_cosine_scaled_reward`; `max_len` in tokens."""

    compared: ClassVar[tuple[str, ...]] = ("answer",)
    counts_tokens: ClassVar[bool] = True

    max_len: int = Field(ge=1)
    min_value_wrong: float = -1.0
    max_value_wrong: float = -0.5
    min_value_correct: float = 0.5
    max_value_correct: float = 1.0


class RepetitionPenalty(TrlReward):
    """TRL's `get_repetition_penalty_reward`, over tokens."""

    counts_tokens: ClassVar[bool] = True

    ngram_size: int = Field(default=3, ge=1)
    max_penalty: float = Field(default=-1.0, le=0)


class SoftOverlong(TrlReward):
    """TRL's `get_soft_overlong_punishment`, in tokens."""

    counts_tokens: ClassVar[bool] = True

    max_completion_len: int = Field(ge=1)
    soft_punish_cache: int = Field(ge=0)
