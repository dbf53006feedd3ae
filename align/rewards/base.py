"""What a reward is: its options, the columns that it needs, and its function."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from align.inference.types import Messages

#: The column of token ids: training provides it, elsewhere `Rewards` adds it.
TOKENS = "completion_ids"


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
    """A reward as a function of an answer, and the columns without which none can be scored."""

    score: Callable[[ScoredAnswer], Any]
    needs: tuple[str, ...] = ()


class RewardConfig(BaseModel):
    """A reward of a recipe. A negative weight makes a penalty.

    `times` names another reward of the recipe: this reward is multiplied by its value, so that
    `times: correctness` pays it for right answers only.

    Each reward is a subclass: its options are the fields, `compared` the columns that it needs,
    and `scorer` its function.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Columns of the rows that a completion is compared with.
    compared: ClassVar[tuple[str, ...]] = ()

    weight: float = Field(allow_inf_nan=False)
    # Left out of dumps without a value, so that searches of earlier versions are recognised.
    times: str | None = Field(default=None, exclude_if=lambda value: value is None)

    def columns(self, name: str) -> tuple[str, ...]:
        """Columns that the rows of a recipe must have for the reward of this name.

        RecipeError if the reward is a user's function that cannot be imported.
        """
        return self.compared

    @abstractmethod
    def scorer(self, name: str) -> Scorer | None:
        """The function of the reward of this name; None for a reward that a judge gives.

        RecipeError if a package or a function that it needs is missing.
        """


class AnswerReward(RewardConfig):
    """A reward that is computed from each answer by itself."""

    @abstractmethod
    def score(self, answer: ScoredAnswer) -> float:
        """The reward of an answer. Any error fails the reward of this answer alone."""

    def scorer(self, name: str) -> Scorer:
        """`score`, which needs the columns in `compared`."""
        return Scorer(self.score, self.compared)
