"""A reward's config as a function of one answer. Imports no torch until TRL's own are asked for."""

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

#: The column of token ids, which training has anyway and `Rewards` makes elsewhere.
TOKENS = "completion_ids"

_MATHEMATICAL = ("accuracy_reward", "reasoning_accuracy_reward", "get_cosine_scaled_reward")
_COUNT_TOKENS = (
    "get_cosine_scaled_reward",
    "get_repetition_penalty_reward",
    "get_soft_overlong_punishment",
)


@dataclass(frozen=True)
class ScoredAnswer:
    """One completion: its prompt, its text, and its row's other columns."""

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
    """A reward of one answer, and the columns it cannot do without."""

    score: Callable[[ScoredAnswer], Any]
    needs: tuple[str, ...] = ()


def scorer(name: str, config: RewardConfig) -> Scorer:
    """The reward of that name and these options; `reward_model` is a judge's and not here.

    RecipeError if a package or a function that it needs is not there.
    """
    if isinstance(config, PythonConfig):
        function = Function(name, config)
        return Scorer(lambda one: function(one.prompt, one.text, one.columns), function.needs)
    if isinstance(config, CorrectnessConfig):
        verify = config.verify
        if verify == "math":
            mathematics.check_installed("reward 'correctness' with verify: math")
        return Scorer(
            lambda one: answers.correctness(one.text, str(one.column("answer")), verify),
            ("answer",),
        )
    if isinstance(config, FormatConfig):
        pattern = config.pattern
        return Scorer(lambda one: answers.matches(one.text, pattern))
    if isinstance(config, LengthConfig):
        target = config.target
        return Scorer(lambda one: answers.within(one.text, target))
    if isinstance(config, RepetitionConfig):
        ngram = config.ngram
        return Scorer(lambda one: 1 - answers.repeated(one.text, ngram))
    if name == "brevity":
        return Scorer(lambda one: answers.brevity(one.text))
    if name == "reasoning_gym":
        return _reasoning()
    return _trl(name, config)


def _reasoning() -> Scorer:
    """The task's own scoring, of the row's `entry`."""
    from align.data.reasoning import score

    return Scorer(lambda one: score(one.text, one.column("entry")), ("entry",))


def _trl(name: str, config: RewardConfig) -> Scorer:
    """TRL's own reward, given one sample at a time so that a failure is that sample's alone."""
    if name in _MATHEMATICAL:
        mathematics.check_installed(f"reward '{name}'")
    from trl import rewards

    options, function = config.model_dump(exclude={"weight"}), getattr(rewards, name)
    if name.startswith("get_"):
        function, options = function(**options), {}
    tokens, solved = name in _COUNT_TOKENS, name in _MATHEMATICAL

    def score(one: ScoredAnswer) -> Any:
        columns: dict[str, Any] = {}
        if tokens:
            columns[TOKENS] = [one.column(TOKENS)]
        if solved:
            columns["solution"] = [str(one.columns.get("solution") or one.column("answer"))]
        message = {"role": "assistant", "content": one.text}
        return function(completions=[[message]], **columns, **options)[0]

    return Scorer(score, (TOKENS,) if tokens else ())
