"""Arithmetic that a recipe may hold, and what is no such arithmetic."""

import pytest

from align.space.expressions import evaluate, is_calculation, names_in, read

VALUES = {"r": 8.0, "lora.r": 16.0, "zero": 0.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 * r", 16.0),
        ("r + lora.r / 4 - 1", 11.0),
        ("-r + 10", 2.0),
        ("(r + 2) * 3", 30.0),
        ("2 ** 3 ** 2", 512.0),
        ("  1e-4 * lora.r ", 0.0016),
    ],
)
def test_an_expression_has_the_value_of_its_arithmetic(text: str, expected: float) -> None:
    assert evaluate(read(text), VALUES.__getitem__) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["r % 2", "f(r)", "r[0]", "'r'", "True", "1 < 2", "r if r else 2", "+r", "[1].r"]
)
def test_nothing_but_numbers_names_and_operators_is_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"only numbers, names and \+ - \* / \*\* may be used"):
        read(text)


@pytest.mark.parametrize("text", ["2 *", "", "a b", "1\0"])
def test_what_cannot_be_parsed_is_no_expression(text: str) -> None:
    with pytest.raises(ValueError, match="no expression"):
        read(text)


def test_a_long_text_is_refused() -> None:
    assert read("1" * 1000)
    with pytest.raises(ValueError, match="1000 characters at most; got 1001"):
        read("1" * 1001)


def test_names_are_listed_once_in_their_order() -> None:
    assert names_in(read("lora.r * r - 2 / lora.r")) == ["lora.r", "r"]
    assert names_in(read("1 + 2")) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / zero", "division by zero"),
        ("10.0 ** 999", "result out of range"),
        ("(0 - 2) ** 0.5", "no number to use"),
        ("1e308 * 10", "is inf, which is no number to use"),
    ],
)
def test_a_result_that_is_no_number_is_an_error(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        evaluate(read(text), VALUES.__getitem__)


def test_a_single_name_is_no_calculation() -> None:
    assert is_calculation("2 * r") and is_calculation("f(1) + 2")
    assert not is_calculation("all-") and not is_calculation("lora.r") and not is_calculation("-2")
