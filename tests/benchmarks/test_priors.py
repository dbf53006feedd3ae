"""Published learning rates, judged on models that were left out."""

import math

import pytest

from benchmarks.priors.curves import Curve
from benchmarks.priors.run import measure
from sweeps.study.published_rates import published_rates


@pytest.fixture(scope="module")
def result():
    return measure()


def way(result, name, rates):
    return next(row for row in result["ways"] if (row["way"], row["rates"]) == (name, rates))


def test_the_shipped_line_is_the_line_of_the_shipped_sweeps(result):
    shipped = published_rates().sft
    for name, value in result["line"].items():
        assert getattr(shipped, name) == pytest.approx(value, abs=2e-4)


@pytest.mark.parametrize("rates", [1, 2, 4])
def test_the_prior_comes_nearer_than_random_rates_and_the_tutorials(result, rates):
    prior = way(result, "prior", rates)
    for other in (way(result, "random", rates), way(result, "2e-04 for all", 1)):
        assert prior["median"] < other["median"]
        assert prior["within_1_percent"] > other["within_1_percent"]


def test_a_rate_beyond_the_published_counts_as_diverged():
    curve = Curve("m", 1.0, 8, (-4.0, -3.5, -3.0), (1.0, 0.9, 1.0))
    assert curve.excess([-3.5]) == pytest.approx(0, abs=1e-6)
    assert math.isinf(curve.excess([-2.5]))
    assert curve.excess([-2.5, -4.0]) == pytest.approx(1 / 0.9 - 1, abs=1e-6)
