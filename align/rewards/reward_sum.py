"""The weighted rewards of a recipe, and which samples they failed on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from align.errors import DataError
from align.rewards.base import TOKENS, RewardConfig, ScoredAnswer, Scorer
from align.rewards.builtin.reward_model import Judge

if TYPE_CHECKING:
    from align.inference.types import Messages

#: Maximum number of failures stored for each reward; all are counted.
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
    """The weighted rewards of a recipe; without a judge, those that a judge gives are left out.

    A reward that raises, or returns no finite number, fails on that answer only: its value is NaN,
    and the failure is in `failures`. `tokenize` (text → ids) is for rewards that count tokens, if
    there is no column `completion_ids`. RecipeError if a package or function is missing.
    """

    def __init__(
        self,
        configs: Mapping[str, RewardConfig],
        judge: Judge | None = None,
        tokenize: Callable[[str], Sequence[int]] | None = None,
    ):
        scorers = {name: config.scorer(name) for name, config in configs.items()}
        self._scorers = {
            name: reward
            for name, reward in scorers.items()
            if reward is not None or judge is not None
        }
        self.configs = {name: configs[name] for name in self._scorers}
        self.weights = {name: config.weight for name, config in self.configs.items()}
        self.failures: list[RewardFailure] = []
        self.failures_by_reward: Counter[str] = Counter()
        self._judge, self._tokenize = judge, tokenize

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
        """Each reward by name, unweighted, with a value for each text."""
        return {name: self.part(name, prompts, texts, columns) for name in self.weights}

    def part(
        self,
        name: str,
        prompts: Sequence[Messages],
        texts: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
    ) -> list[float]:
        """A reward, unweighted and `multiplied`, for each text; NaN where it failed.

        `columns` are the rows' other columns, a value for each text. DataError if a column
        that the reward needs is not among them. Errors of a judge's engine are not caught.
        """
        values = self._values(name, prompts, texts, columns)
        return self.multiplied(name, values, prompts, texts, columns)

    def multiplied(
        self,
        name: str,
        values: Sequence[float],
        prompts: Sequence[Messages],
        texts: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
    ) -> list[float]:
        """A reward's values times those of the reward that its `times` names, if it names any.

        The arguments and errors are those of `part`. NaN where either reward failed; a failure of
        the named reward counts where its own part is computed.
        """
        factor = self.configs[name].times
        if factor is None:
            return list(values)
        factors = self._values(factor, prompts, texts, columns, recorded=False)
        return [value * other for value, other in zip(values, factors, strict=True)]

    def _values(
        self,
        name: str,
        prompts: Sequence[Messages],
        texts: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
        recorded: bool = True,
    ) -> list[float]:
        """A reward by itself for each text; failures are counted if they are `recorded`."""
        reward = self._scorers[name]
        if reward is None:
            assert self._judge is not None  # __init__ dropped the weight otherwise
            return self._judge.preferences(prompts, texts)
        columns = self._completed(name, reward, texts, columns)
        return [
            self._scored(
                name,
                reward,
                ScoredAnswer(prompt, text, {key: values[index] for key, values in columns.items()}),
                recorded,
            )
            for index, (prompt, text) in enumerate(zip(prompts, texts, strict=True))
        ]

    def total(self, parts: Mapping[str, Sequence[float]]) -> list[float]:
        """The weighted sum for each text. Failed parts are left out, as in TRL."""
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
        reward: Scorer,
        texts: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
    ) -> Mapping[str, Sequence[Any]]:
        """The columns, with token ids if the reward needs them. DataError names missing ones."""
        if TOKENS in reward.needs and TOKENS not in columns and self._tokenize is not None:
            columns = {**columns, TOKENS: [self._tokenize(text) for text in texts]}
        if missing := [column for column in reward.needs if column not in columns]:
            raise DataError(
                f"reward '{name}' needs the column {', '.join(missing)}; "
                f"the rows have: {', '.join(sorted(columns)) or 'none beside the prompt'}"
            )
        return columns

    def _scored(self, name: str, reward: Scorer, answer: ScoredAnswer, recorded: bool) -> float:
        try:
            return _number(reward.score(answer))
        except Exception as error:  # a user's function can raise anything
            if not recorded:
                return math.nan
            self.failures_by_reward[name] += 1
            if self.failures_by_reward[name] <= KEPT:
                message = f"{type(error).__name__}: {error}"
                self.failures.append(
                    RewardFailure(name, _head(answer.prompt), answer.text, message)
                )
            return math.nan


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The rows' columns except the prompt, a value for each row; None where a row lacks it."""
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
