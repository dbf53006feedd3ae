"""A reward's config as a function of an answer. Imports no torch, except for TRL's rewards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from align.inference.types import Messages
from align.recipe.rewards import (
    CorrectnessConfig,
    FormatConfig,
    LengthConfig,
    PythonConfig,
    RepetitionConfig,
    RewardConfig,
)
from align.rewards import answers, mathematics
from align.rewards.functions import Function

#: The column of token ids: training provides it, elsewhere `Rewards` adds it.
TOKENS = "completion_ids"

_MATHEMATICAL = ("accuracy_reward", "reasoning_accuracy_reward", "get_cosine_scaled_reward")
_COUNT_TOKENS = (
    "get_cosine_scaled_reward",
    "get_repetition_penalty_reward",
    "get_soft_overlong_punishment",
)


@dataclass(frozen=True)
class ScoredAnswer:
    """A completion: its prompt, its text, and its row's other columns."""

    prompt: Messages
    text: str
    columns: Mapping[str, Any]

    def column(self, name: str) -> Any:
        """A column's value. ValueError where this row has none."""
        value = self.columns.get(name)
        if value is None:
            raise ValueError(f"the row has no '{name}'")
        return value


@dataclass(frozen=True)
class Scorer:
    """A reward as a function of an answer, and the columns it requires."""

    score: Callable[[ScoredAnswer], Any]
    needs: tuple[str, ...] = ()


def scorer(name: str, config: RewardConfig) -> Scorer:
    """The scorer of a reward with these options; `reward_model` has none, as a judge scores it.

    RecipeError if a package or a function that it needs is missing.
    """
    if isinstance(config, PythonConfig):
        function = Function(name, config)
        return Scorer(
            lambda answer: function(answer.prompt, answer.text, answer.columns), function.needs
        )
    if isinstance(config, CorrectnessConfig):
        verify = config.verify
        if verify == "math":
            mathematics.check_installed("reward 'correctness' with verify: math")
        return Scorer(
            lambda answer: answers.correctness(answer.text, str(answer.column("answer")), verify),
            ("answer",),
        )
    if isinstance(config, FormatConfig):
        pattern = config.pattern
        return Scorer(lambda answer: answers.matches(answer.text, pattern))
    if isinstance(config, LengthConfig):
        target = config.target
        return Scorer(lambda answer: answers.within(answer.text, target))
    if isinstance(config, RepetitionConfig):
        ngram = config.ngram
        return Scorer(lambda answer: 1 - answers.repeated(answer.text, ngram))
    if name == "brevity":
        return Scorer(lambda answer: answers.brevity(answer.text))
    if name == "reasoning_gym":
        return _reasoning()
    return _trl(name, config)


def _reasoning() -> Scorer:
    """The task's own scoring, of the row's `entry`."""
    from align.data.reasoning import score

    return Scorer(lambda answer: score(answer.text, answer.column("entry")), ("entry",))


def _trl(name: str, config: RewardConfig) -> Scorer:
    """TRL's reward, called for each sample alone so that a failure affects that sample only."""
    if name in _MATHEMATICAL:
        mathematics.check_installed(f"reward '{name}'")
    from trl import rewards

    options, function = config.model_dump(exclude={"weight"}), getattr(rewards, name)
    if name.startswith("get_"):
        function, options = function(**options), {}
    counts_tokens, needs_solution = name in _COUNT_TOKENS, name in _MATHEMATICAL

    def score(answer: ScoredAnswer) -> Any:
        columns: dict[str, Any] = {}
        if counts_tokens:
            columns[TOKENS] = [answer.column(TOKENS)]
        if needs_solution:
            columns["solution"] = [str(answer.columns.get("solution") or answer.column("answer"))]
        message = {"role": "assistant", "content": answer.text}
        return function(completions=[[message]], **columns, **options)[0]

    return Scorer(score, (TOKENS,) if counts_tokens else ())
