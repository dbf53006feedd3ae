"""The weighted rewards of a recipe, and which samples they failed on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align.errors import DataError
from align.inference.types import Messages
from align.recipe.rewards import RewardConfig
from align.rewards.judge import Judge
from align.rewards.scorers import TOKENS, ScoredAnswer, Scorer, scorer

#: Failures that are kept of each reward; all are counted.
KEPT = 20
_HEAD = 200


@dataclass(frozen=True)
class RewardFailure:
    """A reward that gave no number for an answer; `prompt` is the head of its last message."""

    reward: str
    prompt: str
    text: str
    error: str


class Rewards:
    """The weighted rewards of a recipe; without a judge, those that need none.

    A reward that raises, or returns no finite number, fails on that answer alone: NaN stands for
    it, and it is in `failures`. `tokenize` (text → ids) serves rewards that count tokens where
    there is no column `completion_ids`. RecipeError if a package or function is not there.
    """

    def __init__(
        self,
        configs: Mapping[str, RewardConfig],
        judge: Judge | None = None,
        tokenize: Callable[[str], Sequence[int]] | None = None,
    ):
        self.configs = dict(configs)
        if judge is None:
            self.configs.pop("reward_model", None)
        self.weights = {name: one.weight for name, one in self.configs.items()}
        self.failures: list[RewardFailure] = []
        self.failures_by_reward: Counter[str] = Counter()
        self._judge, self._tokenize = judge, tokenize
        self._scorers = {
            name: scorer(name, one) for name, one in self.configs.items() if name != "reward_model"
        }

    @property
    def failed(self) -> int:
        """How often a reward gave no number."""
        return self.failures_by_reward.total()

    def parts(
        self,
        prompts: Sequence[Messages],
        texts: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
    ) -> dict[str, list[float]]:
        """Each reward by name, unweighted, one value for each text."""
        return {name: self.part(name, prompts, texts, columns) for name in self.weights}

    def part(
        self,
        name: str,
        prompts: Sequence[Messages],
        texts: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
    ) -> list[float]:
        """One reward, unweighted, for each text; NaN where it failed.

        `columns` are the rows' other columns, one value for each text. DataError if a column
        that the reward needs is not among them. What a judge's engine raises is not caught.
        """
        if name == "reward_model":
            judge = self._judge
            assert judge is not None  # __init__ dropped the weight otherwise
            return judge.preferences(prompts, texts)
        chosen = self._scorers[name]
        columns = self._completed(name, chosen, texts, columns)
        return [
            self._scored(
                name,
                chosen,
                ScoredAnswer(prompt, text, {key: values[at] for key, values in columns.items()}),
            )
            for at, (prompt, text) in enumerate(zip(prompts, texts, strict=True))
        ]

    def total(self, parts: Mapping[str, Sequence[float]]) -> list[float]:
        """The weighted sum for each text. A part that failed counts nothing, as in TRL."""
        rows = zip(*parts.values(), strict=True)
        return [
            sum(
                self.weights[name] * value
                for name, value in zip(parts, row, strict=True)
                if not math.isnan(value)
            )
            for row in rows
        ]

    def _completed(
        self,
        name: str,
        chosen: Scorer,
        texts: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
    ) -> Mapping[str, Sequence[Any]]:
        """The columns, with token ids where they are wanted. DataError names one missing."""
        if TOKENS in chosen.needs and TOKENS not in columns and self._tokenize is not None:
            columns = {**columns, TOKENS: [self._tokenize(text) for text in texts]}
        if missing := [one for one in chosen.needs if one not in columns]:
            raise DataError(
                f"reward '{name}' needs the column {', '.join(missing)}; "
                f"the rows have: {', '.join(sorted(columns)) or 'none beside the prompt'}"
            )
        return columns

    def _scored(self, name: str, chosen: Scorer, answer: ScoredAnswer) -> float:
        try:
            return _number(chosen.score(answer))
        except Exception as error:  # a person's function can raise anything
            self.failures_by_reward[name] += 1
            if self.failures_by_reward[name] <= KEPT:
                told = f"{type(error).__name__}: {error}"
                self.failures.append(RewardFailure(name, _head(answer.prompt), answer.text, told))
            return math.nan


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The rows' columns beside the prompt, one value for each row, None where a row has none."""
    names = dict.fromkeys(name for row in rows for name in row if name != "prompt")
    return {name: [row.get(name) for row in rows] for name in names}


def _number(value: Any) -> float:
    """A reward as a float. ValueError if it is no finite number."""
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"returned {value!r}, which is no finite number")
    return number


def _head(prompt: Messages) -> str:
    return str(prompt[-1]["content"])[:_HEAD] if prompt else ""
