"""The text of a constraint: its parts, what it looks at, and how far a value is beyond it."""

from __future__ import annotations

import math
import re

import pytest

from align.space.constraints import System, broken, needed, read_constraint

Beside = dict[tuple[System, str], float]
FORM = "<metric> <= <bound> or <metric> >= <bound>, e.g. length <= 1.2 * parent.length"


def test_the_parts_of_a_constraint() -> None:
    text = " length <= 1.2 * parent.length + base.tokens "
    one = read_constraint(text)
    assert one.text == text
    assert one.metric == "length" and one.at_most
    assert one.beside == (("parent", "length"), ("base", "tokens"))
    assert one.names == ("length", "parent.length", "base.tokens")
    assert not read_constraint("length >= 3").at_most
    assert read_constraint("length >= 3").names == ("length",)


@pytest.mark.parametrize(
    "text",
    ["length < 3", "length == 3", "length <=", "<= 3", "1 <= length <= 3", "a <= b >= 1", ""],
)
def test_what_has_another_form_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'expected {FORM}; got {text!r}')}$"):
        read_constraint(text)


def test_a_bound_may_use_other_systems_alone() -> None:
    text = "length <= 2 * tokens + lengths"
    told = f"'tokens': a bound may use numbers, parent.<metric> and base.<metric>; got {text!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        read_constraint(text)
    with pytest.raises(ValueError, match=r"^'_0': a bound may use"):
        read_constraint("length <= _0")
    with pytest.raises(ValueError, match=r"^no expression: '2 \*'"):
        read_constraint("length <= 2 *")


def test_a_measurement_that_is_used_twice_is_looked_at_once() -> None:
    one = read_constraint("length <= parent.length * parent.length / base.length")
    assert one.beside == (("parent", "length"), ("base", "length"))
    values: Beside = {("parent", "length"): 6.0, ("base", "length"): 3.0}
    assert one.violation(12.0, values) == 0.0
    assert one.violation(24.0, values) == 1.0


def test_the_objectives_name_of_the_mean_reward_is_understood_everywhere() -> None:
    one = read_constraint("reward >= parent.reward - base.mean_reward")
    assert one.names == ("mean_reward", "parent.mean_reward", "base.mean_reward")
    assert read_constraint("reward/a >= parent.reward/a").names == ("reward/a", "parent.reward/a")


def test_what_constraints_need_of_all_systems() -> None:
    texts = ["length <= parent.tokens", "reward >= base.reward", "kl_per_token <= 1"]
    assert needed(texts) == {"length", "tokens", "mean_reward", "kl_per_token"}
    assert needed([]) == set()


@pytest.mark.parametrize(
    ("text", "value", "violation"),
    [
        ("x <= 50", 60.0, 0.2),
        ("x <= 50", 40.0, -0.2),
        ("x >= 50", 60.0, -0.2),
        ("x >= 50", 40.0, 0.2),
        ("x <= 0 - 50", -40.0, 0.2),
        ("x >= 0 - 50", -60.0, 0.2),
        ("x <= 0", 3.0, 3.0),
        ("x >= 0", 3.0, -3.0),
        ("x <= 1.0e-9", 3.0, 3.0 - 1e-9),
        ("x <= 2.0e-9", 3.0e-9, 0.5),
    ],
)
def test_a_violation_is_relative_to_the_bounds_size(
    text: str, value: float, violation: float
) -> None:
    assert read_constraint(text).violation(value, {}) == pytest.approx(violation)
    assert broken(read_constraint(text), {"x": value, "y": 1.0}, {}) == pytest.approx(violation)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
@pytest.mark.parametrize("name", ["x", "parent", "base"])
def test_nothing_is_said_of_what_was_not_measured(name: str, missing: float | None) -> None:
    one = read_constraint("x <= parent.y + base.z")
    metrics = {"x": 1.0}
    beside: Beside = {("parent", "y"): 1.0, ("base", "z"): 1.0}
    assert broken(one, metrics, beside) == -0.5
    if name == "x":
        metrics = {} if missing is None else {"x": missing}
    else:
        beside = {key: 1.0 for key in beside if key[0] != name}
        if missing is not None:
            beside["parent" if name == "parent" else "base", "y" if name == "parent" else "z"] = (
                missing
            )
    assert broken(one, metrics, beside) is None


def test_a_bound_that_cannot_be_computed_is_an_error() -> None:
    one = read_constraint("x <= 1 / base.y")
    with pytest.raises(ValueError, match="division by zero"):
        broken(one, {"x": 1.0}, {("base", "y"): 0.0})
