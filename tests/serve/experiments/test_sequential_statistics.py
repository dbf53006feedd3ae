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


def test_looking_often_at_equal_arms_seldom_names_a_winner():
    """What a report does: every look builds the arms anew from what each user said."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(300):
        said = rng.binomial(1, 0.5, size=(2, 300)).tolist()
        looks = (arms_of([one[:users] for one in said]) for users in range(20, 301, 20))
        wrong += any(difference(*arms, planned=600, alpha=0.05).sign for arms in looks)
    assert 0 < wrong / 300 <= 0.05


# Uneven sizes and variances, so that neither arm's error stands for that of the difference.
CONTROL = [1.0, 4.0, 2.0, 8.0, 5.0, 7.0, 1.0, 3.0, 6.0, 2.0, 9.0, 4.0]
TREATMENT = [3.5, 3.0, 4.0, 3.75, 3.25, 4.5, 2.5]
#: Half a sequence at its planned size, in standard errors of the estimate.
WIDTH = 1.549 * stats.norm.ppf(0.975)


def welch(control, treatment):
    """SciPy's standard error of the difference of two means, variances not assumed equal."""
    test = stats.ttest_ind(treatment, control, equal_var=False)
    return (np.mean(treatment) - np.mean(control)) / test.statistic


def test_the_interval_of_a_difference_comes_of_welchs_standard_error():
    found = difference(*arms_of([CONTROL, TREATMENT]), planned=19, alpha=0.05)
    error = welch(CONTROL, TREATMENT)
    assert found.estimate == pytest.approx(np.mean(TREATMENT) - np.mean(CONTROL))
    assert found.high - found.estimate == pytest.approx(WIDTH * error, rel=1e-3)
    assert found.estimate - found.low == pytest.approx(WIDTH * error, rel=1e-3)


@pytest.mark.parametrize("sample", [CONTROL, TREATMENT])
def test_the_interval_of_a_mean_comes_of_its_standard_error(sample):
    arm = arms_of([CONTROL, TREATMENT])[sample is TREATMENT]
    low, high = mean_interval(arm, len(sample), 0.05)
    assert (low + high) / 2 == pytest.approx(np.mean(sample))
    assert (high - low) / 2 == pytest.approx(WIDTH * stats.sem(sample), rel=1e-3)


@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_the_p_value_reaches_alpha_where_the_interval_reaches_zero(alpha):
    plan = {"planned": 40, "alpha": alpha}
    found = difference(*arms_of([CONTROL, TREATMENT]), **plan)
    shifted = [value - found.low for value in TREATMENT]
    edge = difference(*arms_of([CONTROL, shifted]), **plan)
    assert edge.low == pytest.approx(0, abs=1e-9)
    assert edge.e_value == pytest.approx(1 / alpha)
    assert edge.p_value == pytest.approx(alpha)


@pytest.mark.parametrize(("users", "sign"), [((9, 40), 0), ((40, 9), 0), ((10, 10), 1)])
def test_both_arms_need_ten_users_before_anything_is_decided(users, sign):
    samples = [
        ([least, least + 0.1] * 20)[:count] for least, count in zip((0, 5), users, strict=True)
    ]
    found = difference(*arms_of(samples), planned=60, alpha=0.05)
    assert found.low > 0 and found.sign == sign


def test_a_unanimous_arm_varies_as_if_two_more_had_disagreed():
    """Agresti and Caffo's proportion for 8 of 8: (8 + 1) / (8 + 2), and its variance."""
    control, treatment = arms_of([[0.0, 1.0] * 4, [1.0] * 8])
    assert treatment.variance == pytest.approx(0.9 * 0.1)
    assert treatment.mean == 1.0
    assert control.variance == pytest.approx(np.var([0.0, 1.0] * 4, ddof=1))


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
