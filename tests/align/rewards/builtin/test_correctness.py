"""The text's last number, or its mathematics, against the row's answer."""

import math

import pytest

from align.rewards import last_number, mathematics
from tests.align.rewards.scoring import parts, value


def test_correctness_compares_last_numbers():
    assert value({"correctness": 1}, "3 + 4 = 7.0", answer="7") == 1.0
    assert value({"correctness": 1}, "7, not 8", answer="7") == 0.0


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("so it is $1+x^2$.", "x^2+1", 1.0),
        ("so it is $x^2-1$.", "x^2+1", 0.0),
        ("That makes 0.5", r"\frac{1}{2}", 1.0),
        ("That makes 2", r"\frac{1}{2}", 0.0),
        ("72", "72", 1.0),
        (r"\boxed{\frac{144}{2}}", "72", 1.0),
    ],
)
def test_correctness_reads_mathematics(text, answer, expected):
    pytest.importorskip("math_verify")
    raw = {"correctness": {"weight": 1, "verify": "math"}}
    assert value(raw, text, answer=answer) == expected
    if mathematics.is_expression(answer):
        assert value({"correctness": 1}, text, answer=answer) == expected


def test_an_answer_that_is_no_mathematics_fails_its_sample_alone():
    pytest.importorskip("math_verify")
    raw = {"correctness": {"weight": 1, "verify": "math"}}
    found, rewards = parts(raw, ["7", "7"], {"answer": ["", "7"]})
    assert math.isnan(found["correctness"][0]) and found["correctness"][1] == 1.0
    assert "'' cannot be read as mathematics" in rewards.failures[0].error


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7", "7"),
        ("1,234,567 in all", "1234567"),
        ("1, 234", "234"),
        ("it is -0.5.", "-0.5"),
        ("none", None),
    ],
)
def test_the_last_number_of_a_text(text, number):
    assert last_number(text) == number
