"""Which scores are equal but for rounding."""

import math

import numpy as np
import pytest

from align.evaluation.statistics import compare
from align.evaluation.ties import log_odds, rounding, settled


def test_the_order_of_a_sum_in_fp32_decides_nothing() -> None:
    terms = np.random.default_rng(0).gumbel(-2, 1, size=(50, 256)).clip(max=0).astype(np.float32)
    for row in terms:
        forwards, backwards = (float(np.cumsum(side)[-1]) for side in (row, np.sort(row)))
        assert compare(forwards, backwards, rounding("float32")) == 0.5


def test_a_coarser_dtype_has_more_ties() -> None:
    assert rounding("float32") < rounding("float16") < rounding("bfloat16") < 0.001
    assert compare(-50.0, -50.01, rounding("bfloat16")) == 0.5
    assert compare(-50.0, -50.01, rounding("float32")) == 1.0


def test_a_difference_within_rounding_is_none() -> None:
    assert settled(1e-6, 100.0, 1e-6) == 0.0
    assert settled(-1e-3, 100.0, 1e-6) == -1e-3
    assert settled(0.0, 0.0, 1e-6) == 0.0


@pytest.mark.parametrize("z", [-30.0, -1.0, 0.0, 2.5, 30.0])
def test_log_odds_are_the_inverse_of_a_preference(z: float) -> None:
    assert log_odds(1 / (1 + math.exp(-z))) == pytest.approx(z, abs=0.1)


def test_certain_preferences_tie_with_each_other_alone() -> None:
    assert compare(log_odds(1.0), log_odds(1.0), 1e-4) == 0.5
    assert compare(log_odds(1.0), log_odds(1 - 1e-10), 1e-4) == 1.0
    assert compare(log_odds(0.0), log_odds(1e-10), 1e-4) == 0.0
