"""Rank correlations of rungs with the end."""

import math

import pytest
from scipy.stats import kendalltau, spearmanr

from benchmarks.rungs.correlation import kendall, predictions, spearman


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1, 2, 3, 4], [10, 30, 20, 40]),
        ([1, 1, 2, 3, 3, 4], [0.5, 0.2, 0.2, 0.9, 0.1, 0.9]),
        ([4, 3, 2, 1], [1, 2, 2, 3]),
    ],
)
def test_coefficients_are_those_of_scipy(first, second):
    assert kendall(first, second) == pytest.approx(kendalltau(first, second).statistic)
    assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)


def test_a_metric_that_tells_the_order_correlates_and_a_blind_metric_has_no_coefficient(ladder):
    told = {(row.metric, row.step): row for row in predictions(ladder)}
    assert set(told) == {(name, step) for name in ("nll", "accuracy") for step in (5, 15)}
    seen, blind = told["nll", 5], told["accuracy", 5]
    assert (seen.kendall.value, seen.spearman.value, seen.seconds) == (1.0, 1.0, 2.0)
    assert (blind.kendall.value, blind.spearman.low) == (None, None)


def test_the_interval_of_few_configurations_is_wide(made):
    rows = predictions(
        made(
            [[value] * 3 for value in (1.9, 1.6, 1.7, 1.8, 1.5)],
            [[0, 0, share] for share in (0.1, 0.2, 0.3, 0.4, 0.5)],
        )
    )
    tau = rows[0].kendall
    assert tau.low < tau.value < tau.high
    assert tau.high - tau.low > 0.5


def test_a_diverged_configuration_is_the_worst(made):
    stage = made([[1.0] * 3, [math.nan] * 3, [1.2] * 3], [[0, 0, 0.5], [0, 0, 0.0], [0, 0, 0.3]])
    assert {row.kendall.value for row in predictions(stage) if row.metric == "nll"} == {1.0}
