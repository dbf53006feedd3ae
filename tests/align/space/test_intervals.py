"""What each kind of search space says of itself: fields, values, axes, words."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from align.space.spaces import KINDS, Space

Raw = dict[str, Any]

EXAMPLES: dict[str, Raw] = {
    "loguniform": {"loguniform": [1e-4, 1e-2], "default": 2e-3},
    "uniform": {"uniform": [0.0, 0.2], "default": 0.1},
    "int": {"int": [2, 32], "log": True, "default": 8},
    "choice": {"choice": [8, 4.5, 16], "default": 4.5},
}
LOG, EVEN, INT, LOG_INT, NAMES, NUMBERS, FLAGS = (
    {"loguniform": [1e-4, 1e-2]},
    {"uniform": [0, 0.2]},
    {"int": [2, 10]},
    {"int": [4, 64], "log": True},
    {"choice": ["b", "a", "c"]},
    {"choice": [8, 4.5, 16]},
    {"choice": [True, False]},
)


def space(raw: Raw) -> Space:
    return Space.model_validate(raw)


def test_every_kind_has_an_example() -> None:
    assert list(EXAMPLES) == list(KINDS)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_kind_is_read_back_from_both_forms(kind: str) -> None:
    made = space(EXAMPLES[kind])
    assert type(made) is KINDS[kind] and made.short() == EXAMPLES[kind]
    assert space(made.model_dump(mode="json")) == made
    assert KINDS[kind].model_validate(EXAMPLES[kind]) == made
    assert Space.model_validate(made) is made


def test_the_long_form_has_the_fields_of_all_kinds() -> None:
    assert space({**INT, "when": {"a": 1}}).model_dump() == {
        "kind": "int", "low": 2.0, "high": 10.0, "values": (), "log": False, "default": 6,
        "when": {"a": (1,)},
    }  # fmt: skip
    assert space(NAMES).model_dump() == {
        "kind": "choice", "low": 0.0, "high": 0.0, "values": ("b", "a", "c"), "log": False,
        "default": "b", "when": {},
    }  # fmt: skip
    assert list(space(LOG).model_dump()) == Space.long_form_names()


def test_an_unknown_kind_is_refused_with_those_that_are_allowed() -> None:
    with pytest.raises(ValidationError) as caught:
        space({"kind": "normal", "low": 1})
    error = caught.value.errors()[0]
    assert (error["type"], error["loc"], error["input"]) == ("literal_error", ("kind",), "normal")
    assert error["msg"] == "Input should be 'loguniform', 'uniform', 'int' or 'choice'"


@pytest.mark.parametrize("raw", [LOG, EVEN, INT, LOG_INT, NAMES, NUMBERS, FLAGS])
def test_a_space_contains_what_it_names_and_places_it_on_its_axis(raw: Raw) -> None:
    made = space(raw)
    values = (*made.ends(), *made.spread(5), *(made.every(40) or ()), made.default, *made.marks())
    assert all(made.contains(value) for value in values)
    assert all(0 <= made.place(value) <= 1 for value in values)
    assert {made.place(value) for value in made.ends()} >= {0, 1}
    assert (made.every(40) is None) != made.discrete


@pytest.mark.parametrize(
    ("raw", "limit", "expected"),
    [
        (LOG, 9, None),
        (EVEN, 9, None),
        (INT, 20, (2, 3, 4, 5, 6, 7, 8, 9, 10)),
        (INT, 9, (2, 3, 4, 5, 6, 7, 8, 9, 10)),
        (INT, 3, (2, 3, 4)),
        (NAMES, 1, ("b", "a", "c")),
    ],
)
def test_every_value_is_listed_where_values_can_be_counted(
    raw: Raw, limit: int, expected: Any
) -> None:
    assert space(raw).every(limit) == expected


@pytest.mark.parametrize(
    ("raw", "name", "attributes"),
    [
        (LOG, "FloatDistribution", {"low": 1e-4, "high": 1e-2, "log": True}),
        (EVEN, "FloatDistribution", {"low": 0.0, "high": 0.2, "log": False}),
        (INT, "IntDistribution", {"low": 2, "high": 10, "log": False}),
        (LOG_INT, "IntDistribution", {"low": 4, "high": 64, "log": True}),
        (NAMES, "CategoricalDistribution", {"choices": ("b", "a", "c")}),
    ],
)
def test_the_distribution_is_in_optunas_words(raw: Raw, name: str, attributes: Raw) -> None:
    made = space(raw).distribution()
    assert made == {"name": name, "attributes": attributes}
    assert all(type(made["attributes"][key]) is type(value) for key, value in attributes.items())


@pytest.mark.parametrize(
    ("raw", "value", "expected"),
    [
        (LOG, 1e-3, 0.5),
        (EVEN, 0.05, 0.25),
        (INT, 4, 0.25),
        (LOG_INT, 8, 0.25),
        ({"uniform": [3, 3]}, 3.0, 0.5),
        (NAMES, "a", 0.5),
        (NAMES, "c", 1.0),
        (NUMBERS, 8, 0.5),
        (NUMBERS, 4.5, 0.0),
        (NUMBERS, 5, 0.0),
        (FLAGS, False, 1.0),
        ({"choice": ["a"]}, "a", 0.5),
        ({"choice": [0, False, 1]}, 1, 1.0),
    ],
)
def test_where_a_value_lies_on_the_axis(raw: Raw, value: Any, expected: float) -> None:
    assert space(raw).place(value) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (LOG, (1e-4, 1e-3, 1e-2)),
        ({"loguniform": [3e-5, 1.3e-2]}, (3e-5, 1e-4, 1e-3, 1e-2)),
        ({"loguniform": [2e-3, 4e-3]}, (2e-3, 4e-3)),
        (EVEN, (0.0, 0.1, 0.2)),
        ({"uniform": [1, 5]}, (1.0, 3.0, 5.0)),
        (INT, (2, 10)),
        (LOG_INT, (4, 10, 64)),
        ({"int": [1, 150], "log": True}, (1, 10, 100)),
        (NAMES, ("b", "a", "c")),
        (NUMBERS, (4.5, 8, 16)),
        (FLAGS, (True, False)),
        ({"choice": ["b", 1]}, ("b", 1)),
    ],
)
def test_which_values_an_axis_labels(raw: Raw, expected: tuple[Any, ...]) -> None:
    marks = space(raw).marks()
    if any(isinstance(value, str | bool) for value in expected):
        assert marks == expected
    else:
        assert marks == pytest.approx(expected)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (LOG, "loguniform 0.0001 to 0.01"),
        (EVEN, "uniform 0 to 0.2"),
        (INT, "int 2 to 10"),
        (LOG_INT, "int 4 to 64, log scale"),
        (NUMBERS, "choice 8, 4.5, 16"),
    ],
)
def test_a_space_in_words(raw: Raw, words: str) -> None:
    assert space(raw).in_words() == words


def whole(value: Any) -> int:
    """A field that takes whole numbers from 3 on."""
    if int(value) < 3:
        raise ValueError(f"{value} is below 3")
    return int(value)


@pytest.mark.parametrize(
    ("raw", "number", "told"),
    [
        (EVEN, None, "expected words: search it by choice, not uniform"),
        (INT, None, "expected words: search it by choice, not int"),
        (LOG, int, "expected words: search it by int or choice, not loguniform"),
        (INT, int, "2.0 is below 3"),
        ({"uniform": [-9, 9]}, float, "-9.0 is below 3"),
        ({"choice": [3, 2]}, int, "2 is below 3"),
    ],
)
def test_a_field_refuses_a_space_that_it_cannot_take(raw: Raw, number: Any, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        space(raw).checked(whole, "words", number)
    assert str(caught.value) == told


def test_a_field_takes_a_space_with_its_values_as_it_reads_them() -> None:
    interval = space({"uniform": [3, 9]})
    assert interval.checked(whole, "words", float) is interval
    both = space({"int": [3, 9]})
    assert both.checked(whole, "words", int) is both
    made = space({"choice": ["3", 4.0], "default": 4.0}).checked(whole, "words", int)
    assert made.ends() == (3, 4) and type(made.default) is int
    names = space({"choice": [["q", "v"], "all"]})
    split = names.checked(lambda text: str(text).split(","), "words", None)
    assert split.ends() == ("q,v", "all") and split.default == "q,v"


def test_ends_beyond_either_limit_are_seen() -> None:
    def below(value: float) -> float:
        if value > 5:
            raise ValueError("too large")
        return value

    with pytest.raises(ValueError, match="too large"):
        space({"uniform": [3, 9]}).checked(below, "words", float)
    assert not space(INT).contains(math.nan) and not space(INT).contains(math.inf)
