"""The figures that justify looking at an experiment whenever one likes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from serve.experiments.statistics import (
    SAMPLE_RATIO_ALARM,
    arms_of,
    bonferroni,
    difference,
    e_value,
    half_width,
    mean_interval,
    sample_ratio_e,
    sample_ratio_log_e,
)


def test_width_at_the_planned_size_is_1549_thousandths_of_a_fixed_interval():
    fixed = stats.norm.ppf(0.975) * 0.01
    assert half_width(0.01, 1000, 1000, 0.05) / fixed == pytest.approx(1.549, abs=0.001)
    assert half_width(0.01, 70, 70, 0.05) / fixed == pytest.approx(1.549, abs=0.001)


def test_width_in_units_of_the_standard_error_is_least_at_the_planned_size():
    widths = half_width(1.0, np.arange(1, 5000), 800, 0.05)
    assert np.argmin(widths) + 1 == pytest.approx(800, rel=0.1)


def test_e_value_reaches_1_over_alpha_exactly_where_the_sequence_excludes_zero():
    edge = float(half_width(1.0, 300, 500, 0.05))
    assert e_value(edge, 300, 500, 0.05) == pytest.approx(20, rel=1e-9)


def _looks(rng: np.random.Generator, runs: int, looks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Difference and standard error (runs, looks) of two arms of fair coins, users an arm."""
    steps = np.diff(looks, prepend=0)
    heads = rng.binomial(steps, 0.5, size=(2, runs, len(looks))).cumsum(-1)
    means = heads / looks
    variance = means * (1 - means) * looks / (looks - 1)
    return means[1] - means[0], np.sqrt(variance.sum(0) / looks)


@pytest.mark.parametrize(
    ("looks", "z_rejects", "sequence_rejects"),
    [
        (np.arange(100, 3001, 100), 0.29, 0.011),  # thirty daily looks
        (np.arange(100, 3001), 0.39, 0.016),  # a look after every observation
    ],
)
def test_looking_often_misleads_a_z_test_and_not_the_sequence(looks, z_rejects, sequence_rejects):
    estimate, error = _looks(np.random.default_rng(1), 3000, looks)
    z = (np.abs(estimate) > stats.norm.ppf(0.975) * error).any(-1).mean()
    half = half_width(error, 2 * looks, 5000, 0.05)
    sequence = (np.abs(estimate) > half).any(-1).mean()
    assert z == pytest.approx(z_rejects, abs=0.03)
    assert sequence == pytest.approx(sequence_rejects, abs=0.008)


def test_a_real_difference_is_found_at_the_planned_size():
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(200):
        arms = arms_of([rng.binomial(1, p, 100).tolist() for p in (0.2, 0.55)])
        found += difference(*arms, planned=200, alpha=0.05).sign == 1
    assert found > 190


def test_a_skewed_split_is_caught_and_a_fair_one_is_not():
    rng = np.random.default_rng(3)
    users = np.arange(1, 30_001)

    def alarms(share: float) -> np.ndarray:
        counts = rng.binomial(1, share, size=(300, users[-1])).cumsum(-1)
        both = np.stack([counts, users - counts], axis=-1)
        return sample_ratio_log_e(both, [1, 1]) >= math.log(SAMPLE_RATIO_ALARM)

    skewed = alarms(0.52)
    assert skewed[:, :20_000].any(-1).mean() > 0.9
    assert skewed.any(-1).mean() > 0.99
    assert alarms(0.5).any(-1).mean() < 0.01


def test_a_gross_skew_shows_among_few_users():
    assert sample_ratio_e([40, 160], [1, 1]) > SAMPLE_RATIO_ALARM
    assert sample_ratio_e([85, 115], [1, 1]) < 20


def test_sample_ratio_knows_uneven_weights():
    assert sample_ratio_e([900, 100], [9, 1]) < 1
    assert sample_ratio_e([500, 500], [9, 1]) > SAMPLE_RATIO_ALARM
    assert sample_ratio_e([0, 0, 0], [1, 1, 1]) == pytest.approx(1)
    assert math.isfinite(sample_ratio_e([10**7, 0], [1, 1]))


def test_bonferroni_counts_the_treatments():
    assert bonferroni(0.05, 2) == 0.05
    assert bonferroni(0.05, 5) == pytest.approx(0.0125)


@pytest.mark.parametrize(
    "samples",
    [
        ([], []),
        ([1.0], []),
        ([1.0], [0.0]),
        ([1.0] * 40, [1.0] * 40),
        ([0.5] * 3, [0.5]),
        ([1e100, -1e100] * 20, [1e100, -1e100] * 20),
        ([5e-324, 0.0] * 20, [0.0] * 40),
    ],
)
def test_without_evidence_there_is_no_verdict_and_no_nan(samples):
    arms = arms_of(samples)
    found = difference(*arms, planned=100, alpha=0.05)
    assert found.sign == 0
    figures = (found.estimate, found.low, found.high, found.e_value, found.p_value)
    assert all(one is None or math.isfinite(one) for one in figures)
    for arm in arms:
        interval = mean_interval(arm, 50, 0.05)
        assert interval is None or all(math.isfinite(one) for one in interval)


def test_a_few_unanimous_users_decide_nothing():
    arms = arms_of([[0.0] * 4, [1.0] * 4])
    assert difference(*arms, planned=8, alpha=0.05).sign == 0


def test_many_unanimous_users_do():
    control, treatment = arms_of([[0.0] * 60, [1.0] * 60])
    found = difference(control, treatment, planned=200, alpha=0.05)
    assert found.sign == 1
    assert found.e_value is not None and found.e_value > 20
    assert difference(treatment, control, planned=200, alpha=0.05).sign == -1
