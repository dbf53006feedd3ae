"""Which answers are expressions, and what is said without math-verify."""

import pytest

from align.errors import RecipeError
from align.recipe.rewards import configure
from align.rewards import Rewards, mathematics
from tests.align.rewards.scoring import value


@pytest.mark.parametrize(
    ("answer", "expression"),
    [
        (r"\frac{1}{2}", True),
        ("x^2+1", True),
        ("3/4", True),
        ("sqrt(2)", True),
        ("x - 1", True),
        ("-1,234.5", False),
        ("$5", False),
        ("7 apples", False),
        ("He pays 3/4 of it: 12", False),
        ("", False),
    ],
)
def test_which_answers_are_expressions(answer, expression):
    assert mathematics.is_expression(answer) is expression


def test_correctness_without_math_verify(monkeypatch):
    monkeypatch.setattr(mathematics, "installed", lambda: False)
    assert value({"correctness": 1}, "x^2+1", answer="x^2+1") == 1.0
    for name, raw in {
        "correctness": {"weight": 1, "verify": "math"},
        "accuracy_reward": 1,
        "get_cosine_scaled_reward": {"weight": 1, "max_len": 9},
    }.items():
        with pytest.raises(RecipeError, match=rf"'{name}'.*pip install 'alignery\[math\]'"):
            Rewards(configure({name: raw}))
