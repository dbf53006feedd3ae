"""A space of listed values: what it holds, what it reads, and where its values lie."""

from typing import Any

import pytest

from align.space import Choice


def choice(*values: Any, **more: Any) -> Choice:
    return Choice.model_validate({"choice": list(values), **more})


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"choice": []}, "choice needs a list with at least one value"),
        ({"choice": 8}, "choice needs a list with at least one value"),
        ({"choice": [8, 16], "default": 9}, r"default 9 is not among the choices \[8, 16\]"),
    ],
)
def test_a_choice_has_values_and_its_default_is_among_them(raw: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Choice.model_validate(raw)


def test_the_first_value_is_the_default() -> None:
    assert choice("b", "a").default == "b"
    assert choice("b", "a", default="a").default == "a"


def test_a_value_is_read_as_the_choice_that_it_is_equal_to() -> None:
    made = choice("linear", 0.001, 8)
    assert made.read("1e-3") == 0.001
    assert made.read("linear") == "linear"
    eight = made.read(8.0)
    assert eight == 8 and type(eight) is int
    with pytest.raises(ValueError, match=r"'linar' is not among .*; did you mean 'linear'"):
        made.read("linar")


def test_true_is_not_the_choice_1() -> None:
    assert not choice(1, 2).contains(True)
    assert choice(True, False).contains(False)


def test_numbers_lie_in_their_order_and_names_in_the_recipes() -> None:
    numbers, names = choice(16, 4.5, 8), choice("b", "c", "a")
    assert numbers.ordered() == numbers.marks() == (4.5, 8, 16)
    assert numbers.ends() == numbers.every(1) == (16, 4.5, 8)
    assert [numbers.place(value) for value in (4.5, 8, 16)] == [0.0, 0.5, 1.0]
    assert [names.place(value) for value in ("b", "c", "a")] == [0.0, 0.5, 1.0]
    assert choice("only").place("only") == 0.5


def test_each_choice_is_parsed_as_its_field_parses_it() -> None:
    made = choice("8", "16").checked(int, "a whole number", int)
    assert (made.values, made.default) == ((8, 16), 8)
    with pytest.raises(ValueError, match="invalid literal"):
        choice("8", "many").checked(int, "a whole number", int)
