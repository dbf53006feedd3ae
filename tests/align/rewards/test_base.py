"""An answer's columns, and what a reward takes for its weight."""

import math

import pytest

from align.rewards.base import ScoredAnswer
from align.rewards.builtin.text import Brevity
from tests.align.rewards.scoring import ASK


@pytest.mark.parametrize("value", [0, "", False, [], "7"])
def test_a_column_has_the_rows_value(value: object) -> None:
    assert ScoredAnswer(ASK, "7", {"gold": value}).column("gold") == value


@pytest.mark.parametrize("columns", [{}, {"gold": None}])
def test_a_column_without_a_value_is_an_error(columns: dict[str, None]) -> None:
    with pytest.raises(ValueError, match="the row has no 'gold'"):
        ScoredAnswer(ASK, "7", columns).column("gold")


def test_a_weight_may_be_negative_and_must_be_finite() -> None:
    assert Brevity(weight=-0.5).weight == -0.5
    for weight in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            Brevity(weight=weight)
