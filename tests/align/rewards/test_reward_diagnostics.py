"""Signs of gamed rewards, on numbers that can be checked by hand."""

from math import nan

import pytest

from align.rewards.reward_diagnostics import correlation, repetition, tells, zero_variance


def test_correlation_with_length():
    assert correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1.0)
    assert correlation([3, 2, 1], [10, 20, 30]) == pytest.approx(-1.0)
    # Deviations (-1, 0, 1) and (-1, 1, 0): 1 / (sqrt 2 * sqrt 2).
    assert correlation([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert correlation([1, nan, 2, 3], [10, 99, 20, 30]) == pytest.approx(1.0)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [nan, nan, 1.0]])
def test_what_does_not_vary_has_no_correlation(values):
    assert correlation(values, [1.0, 2.0, 3.0][: len(values)]) is None


def test_groups_that_teach_nothing():
    assert zero_variance([[1, 1], [1, 0], [0.3, 0.1 + 0.2], [nan, 1]]) == 0.75
    assert zero_variance([]) is None


def test_repetition_is_of_four_words():
    assert repetition(["a b c d a b c d", "a b c"]) == pytest.approx((1 / 5 + 0) / 2)


def test_tells_that_cannot_be_told_are_absent():
    assert tells([1.0, 1.0], [5.0, 6.0]) == {}
    found = tells([1, 0], [5, 6], [[1, 0]], ["a", "b"], [1.0, 0.0])
    assert found == {
        "reward_length_correlation": pytest.approx(-1.0),
        "zero_variance_groups": 0.0,
        "repetition": 0.0,
        "truncated": 0.5,
    }
