"""One search space: its short form, the values that it holds, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from align.space.spaces import Expression, Space, alike, is_space, listed, same, scalar

Raw = dict[str, Any]


def space(**raw: Any) -> Space:
    return Space.model_validate(raw)


def refusal(raw: Raw) -> str:
    with pytest.raises(ValidationError) as caught:
        Space.model_validate(raw)
    message: str = caught.value.errors()[0]["msg"]
    return message.removeprefix("Value error, ")


# The short form


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"loguniform": [1e-4, 1e-2]},
            {"kind": "loguniform", "low": 1e-4, "high": 1e-2, "log": True, "default": 1e-3},
        ),
        ({"uniform": [1, 4]}, {"kind": "uniform", "low": 1.0, "high": 4.0, "default": 2.5}),
        ({"uniform": ["1e-1", "5e-1"]}, {"low": 0.1, "high": 0.5, "default": 0.3}),
        ({"uniform": (0, 2)}, {"low": 0.0, "high": 2.0, "default": 1.0, "log": False}),
        ({"uniform": [-2, -1], "default": -1}, {"low": -2.0, "high": -1.0, "default": -1.0}),
        ({"uniform": [3, 3]}, {"low": 3.0, "high": 3.0, "default": 3.0}),
        ({"int": [2, 9]}, {"kind": "int", "low": 2.0, "high": 9.0, "log": False, "default": 6}),
        ({"int": [2, 5]}, {"default": 4}),  # half goes to the even number
        ({"int": [2, 32], "log": True}, {"log": True, "default": 8}),
        ({"int": [1, 64], "log": True, "default": 64}, {"log": True, "default": 64}),
        ({"int": [1, 4], "log": False, "default": "1"}, {"log": False, "default": 1}),
        ({"choice": ["b", "a"]}, {"kind": "choice", "values": ("b", "a"), "default": "b"}),
        ({"choice": ["b", "a"], "default": "a"}, {"default": "a"}),
        ({"choice": [["q", "v"], "all"]}, {"values": ("q,v", "all"), "default": "q,v"}),
        ({"choice": ["all", ["q"]], "default": ["q"]}, {"default": "q"}),
        ({"choice": (1, 2)}, {"values": (1, 2), "default": 1}),
        ({"choice": [1e-3], "default": "1e-3"}, {"default": "1e-3"}),
    ],
)
def test_the_short_form_is_read(raw: Raw, expected: Raw) -> None:
    made = Space.model_validate(raw)
    for name, value in expected.items():
        near = pytest.approx(value) if isinstance(value, float) else value
        assert getattr(made, name) == near
    assert made.when == {}
    assert Space.model_validate(made.model_dump()) == made
    assert Space.model_validate(made.short()).short() == made.short()


@pytest.mark.parametrize(("kind", "of"), [("int", int), ("uniform", float)])
def test_a_default_has_the_kinds_type(kind: str, of: type) -> None:
    assert type(space(**{kind: [2, 8]}).default) is of
    assert type(space(**{kind: [2, 8], "default": 4}).default) is of


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"a": 1}, {"a": (1,)}),
        ({"a": [1, "x"], "b.c": True}, {"a": (1, "x"), "b.c": (True,)}),
        ({"a": (0.5,), 3: "y"}, {"a": (0.5,), "3": ("y",)}),
    ],
)
def test_a_condition_is_a_value_or_a_list_of_values(when: Any, expected: Raw) -> None:
    assert space(uniform=[0, 1], when=when).when == expected


REFUSED: list[tuple[Raw, str]] = [
    (
        {"default": 3},
        "a search space needs exactly one of loguniform, uniform, int, choice; got ['default']",
    ),
    (
        {"int": [1, 2], "choice": [1]},
        "a search space needs exactly one of loguniform, uniform, int, choice; "
        "got ['choice', 'int']",
    ),
    (
        {"uniform": [0, 1], "log": True},
        "uniform does not take ['log']; allowed: ['default', 'uniform', 'when']",
    ),
    (
        {"int": [0, 1], "step": 2, "q": 1},
        "int does not take ['q', 'step']; allowed: ['default', 'int', 'log', 'when']",
    ),
    ({"choice": []}, "empty search space: choice needs a list with at least one value"),
    ({"choice": "ab"}, "empty search space: choice needs a list with at least one value"),
    ({"choice": [1, 2], "default": 3}, "default 3 is not among the choices [1, 2]"),
    ({"choice": [[True]]}, "a value to search is one value or a list of names; got [True]"),
    ({"uniform": 3}, "uniform needs two numbers [low, high]; got 3"),
    ({"uniform": [1, 2, 3]}, "uniform needs two numbers [low, high]; got [1, 2, 3]"),
    ({"uniform": ["a", 1]}, "uniform needs two numbers [low, high]; got ['a', 1]"),
    ({"uniform": [None, 1]}, "uniform needs two numbers [low, high]; got [None, 1]"),
    ({"uniform": [2, 1]}, "empty search space: uniform [2, 1] holds no value"),
    ({"uniform": [0, math.inf]}, "empty search space: uniform [0, inf] holds no value"),
    ({"uniform": [-math.inf, 0]}, "empty search space: uniform [-inf, 0] holds no value"),
    ({"uniform": [math.nan, 0]}, "empty search space: uniform [nan, 0] holds no value"),
    ({"loguniform": [0, 1]}, "loguniform on a log scale needs low > 0; got 0"),
    ({"loguniform": [-0.5, 1]}, "loguniform on a log scale needs low > 0; got -0.5"),
    ({"int": [0, 8], "log": True}, "int on a log scale needs low > 0; got 0"),
    ({"int": [0.5, 8]}, "int needs two whole numbers; got [0.5, 8]"),
    ({"int": [1, 8.5]}, "int needs two whole numbers; got [1, 8.5]"),
    ({"uniform": [0, 1], "default": "x"}, "default 'x' is not a number"),
    ({"uniform": [0, 1], "default": [1]}, "default [1] is not a number"),
    ({"uniform": [0, 1], "default": 1.5}, "default 1.5 lies outside [0, 1]"),
    ({"uniform": [0, 1], "default": -0.5}, "default -0.5 lies outside [0, 1]"),
    ({"int": [1, 8], "default": 2.5}, "int needs a whole number as its default; got 2.5"),
    ({"int": [1, 8], "when": {}}, "when needs {field: value} or {field: [values]}; got {}"),
    ({"int": [1, 8], "when": "a"}, "when needs {field: value} or {field: [values]}; got 'a'"),
    ({"int": [1, 8], "when": {"a": []}}, "when: a needs a value or a list of values; got []"),
    (
        {"int": [1, 8], "when": {"b": 1, "a": [1, None]}},
        "when: a needs a value or a list of values; got [1, None]",
    ),
]


@pytest.mark.parametrize(("raw", "told"), REFUSED)
def test_a_wrong_space_says_what_is_allowed_and_what_came(raw: Raw, told: str) -> None:
    assert refusal(raw) == told


def test_the_long_form_has_no_other_fields_and_is_no_text() -> None:
    assert "Extra inputs" in refusal({"kind": "int", "low": 1, "high": 2, "step": 1})
    with pytest.raises(ValidationError, match="valid dictionary"):
        Space.model_validate("loguniform")


# What it holds


@pytest.mark.parametrize(
    ("raw", "inside", "outside"),
    [
        ({"uniform": [1, 2]}, [1, 1.5, 2.0], [0.99, 2.01, True, "1.5", math.nan]),
        ({"int": [1, 4]}, [1, 2, 4, 3.0], [0, 5, 2.5, True, "2"]),
        ({"choice": [1, 2.5, "a", False]}, [1, 1.0, 2.5, "a", False], [True, 0, 2, "1", "b"]),
    ],
)
def test_what_a_space_contains(raw: Raw, inside: list[Any], outside: list[Any]) -> None:
    made = Space.model_validate(raw)
    assert [made.contains(one) for one in inside] == [True] * len(inside)
    assert [made.contains(one) for one in outside] == [False] * len(outside)


@pytest.mark.parametrize(
    ("raw", "written", "held"),
    [
        ({"uniform": [1, 2]}, "1.5", 1.5),
        ({"uniform": [1, 2]}, 1, 1.0),
        ({"int": [1, 4]}, "2", 2),
        ({"int": [1, 4]}, 3.0, 3),
        ({"choice": ["a", 1e-3]}, "1e-3", 1e-3),
        ({"choice": ["1e-3", "a"]}, 0.001, "1e-3"),
        ({"choice": ["a", 8]}, 8.0, 8),
        ({"choice": [True, 1]}, 1, 1),
    ],
)
def test_what_a_person_writes_is_read_as_a_trial_holds_it(
    raw: Raw, written: Any, held: Any
) -> None:
    found = Space.model_validate(raw).read(written)
    assert found == held and type(found) is type(held)


@pytest.mark.parametrize(
    ("raw", "written", "told"),
    [
        ({"uniform": [1, 2]}, 3, "3 lies outside {'uniform': [1.0, 2.0]}"),
        ({"uniform": [1, 2]}, "x", "'x' lies outside {'uniform': [1.0, 2.0]}"),
        ({"int": [1, 4]}, 2.5, "2.5 lies outside {'int': [1, 4]}"),
        (
            {"choice": ["cosine", "linear", 3]},
            "cosin",
            "'cosin' is not among {'choice': ['cosine', 'linear', 3]}; did you mean 'cosine'?",
        ),
        ({"choice": [1, 2]}, 3, "3 is not among {'choice': [1, 2]}"),
        ({"choice": ["30", 2]}, 300, "300 is not among {'choice': ['30', 2]}; did you mean '30'?"),
    ],
)
def test_a_value_that_no_trial_may_hold_is_refused(raw: Raw, written: Any, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        Space.model_validate(raw).read(written)
    assert str(caught.value) == told


def test_the_ends_are_the_bounds_or_every_choice() -> None:
    assert space(uniform=[1, 2]).ends() == (1.0, 2.0)
    ends = space(int=[1, 4]).ends()
    assert ends == (1, 4) and all(type(one) is int for one in ends)
    assert space(choice=["b", "a", "c"]).ends() == ("b", "a", "c")


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (2, 5, 8, (2, 3, 4, 5)),
        (0, 100, 5, (0, 25, 50, 75, 100)),
        (0, 10, 4, (0, 3, 6, 10)),
        (0, 10, 3, (0, 5, 10)),
        (0, 10, 2, (0, 10)),
        (0, 10, 1, (0, 10)),
        (3, 3, 5, (3,)),
        (7, 9, 3, (7, 8, 9)),
        (-5, 5, 3, (-5, 0, 5)),
    ],
)
def test_whole_numbers_are_spread_evenly(
    low: int, high: int, count: int, expected: tuple[int, ...]
) -> None:
    found = space(int=[low, high]).spread(count)
    assert found == expected and all(type(one) is int for one in found)


def test_other_spaces_are_spread_over_their_ends() -> None:
    assert space(uniform=[1, 2]).spread(9) == (1.0, 2.0)
    assert space(choice=["b", "a", "c"]).spread(2) == ("b", "a", "c")


@pytest.mark.parametrize(
    ("raw", "short"),
    [
        ({"uniform": [1, 2]}, {"uniform": [1.0, 2.0], "default": 1.5}),
        ({"loguniform": [1, 4]}, {"loguniform": [1.0, 4.0], "default": 2.0}),
        ({"int": [1, 4], "log": True}, {"int": [1, 4], "log": True, "default": 2}),
        ({"int": [1, 3]}, {"int": [1, 3], "default": 2}),
        (
            {"choice": ["a"], "when": {"b": 1, "c": [1, 2]}},
            {"choice": ["a"], "default": "a", "when": {"b": 1, "c": [1, 2]}},
        ),
    ],
)
def test_the_short_form_is_what_an_author_writes(raw: Raw, short: Raw) -> None:
    assert Space.model_validate(raw).short() == short
    assert list(Space.model_validate(raw).short()) == list(short)


# Values


def test_numbers_are_the_same_by_value_and_truth_is_no_number() -> None:
    assert same(8, 8.0) and same("a", "a") and same(True, True)
    assert not same(1, True) and not same(False, 0) and not same("1", 1) and not same(1, 2)
    assert alike("1e-3", 0.001) and alike(0.001, "1e-3") and alike("a", "a")
    assert not alike("1", True) and not alike("a", "b") and not alike("2", 1)


def test_a_list_of_names_stands_as_text() -> None:
    assert scalar(["q_proj", "v.proj", "k-proj"]) == "q_proj,v.proj,k-proj"
    assert scalar((1, 2.5)) == "1,2.5" and scalar(["q"]) == "q"
    for plain in ("q", 3, None, True):
        assert scalar(plain) is plain


@pytest.mark.parametrize("value", [[], [True], ["a", None], ["a,b"], ["a b"], [["a"]], [""]])
def test_a_list_that_would_not_read_back_is_refused(value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        scalar(value)
    told = f"a value to search is one value or a list of names; got {value!r}"
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("q_proj,v_proj", ["q_proj", "v_proj"]),
        ("q", ["q"]),
        ("(q|v)_proj", []),
        ("a,", []),
        ("", []),
        ("a, b", []),
    ],
)
def test_a_lists_text_is_read_back(text: str, names: list[str]) -> None:
    assert listed(text) == names


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"int": [1, 2]}, True),
        ({"choice": [1], "default": 1, "when": {"a": 1}}, True),
        ({"int": [1, 2], "log": True}, True),
        ({"int": [1, 2], "other": 1}, False),
        ({"int": 3}, False),
        ({"default": [1, 2]}, False),
        ({}, False),
        (["int"], False),
        ("int", False),
    ],
)
def test_what_has_the_form_of_a_space(raw: Any, expected: bool) -> None:
    assert is_space(raw) is expected


def test_a_tie_names_what_it_is_computed_from() -> None:
    assert Expression(tie="2 * r + lora.alpha / r").names == ["r", "lora.alpha"]
    with pytest.raises(ValueError, match="no expression"):
        _ = Expression(tie="2 *").names
