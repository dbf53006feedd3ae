"""The figures of an A/B test on few numbers, each against its formula worked out another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from serve.experiments.statistics import (
    MINIMUM_USERS,
    Arm,
    EffectEstimate,
    arms_of,
    bonferroni,
    difference,
    e_value,
    half_width,
    mean_interval,
    rho_squared,
    sample_ratio_e,
    sample_ratio_log_e,
)

CONTROL, TREATMENT = Arm(40, 0.25, 0.2), Arm(60, 0.5, 0.24)


# Arms


def test_an_arm_is_its_users_their_mean_and_the_sample_variance() -> None:
    first, second = arms_of([[0.0, 1.0, 1.0, 4.0], [2.0, 5.0]])
    assert (first.users, first.mean, first.variance) == (4, 1.5, 3.0)
    assert (second.users, second.mean, second.variance) == (2, 3.5, 4.5)
    assert first.standard_error == pytest.approx(math.sqrt(3 / 4))


def test_of_an_empty_arm_nothing_is_known() -> None:
    empty, full = arms_of([[], [0.0, 1.0]])
    assert empty == Arm(0, None, None) and empty.standard_error is None
    assert full == Arm(2, 0.5, 0.5)
    assert arms_of([[], []]) == [Arm(0, None, None)] * 2


def test_of_one_user_the_mean_is_known_and_of_alike_users_no_variance() -> None:
    assert arms_of([[3.0], [1.0, 2.0]])[0] == Arm(1, 3.0, None)
    assert arms_of([[3.0, 3.0], [3.0, 3.0]]) == [Arm(2, 3.0, None)] * 2


def test_a_unanimous_arm_has_the_variance_with_a_lowest_and_a_highest_number_added() -> None:
    unanimous, _ = arms_of([[1.0] * 4, [0.0, 3.0]])
    assert (unanimous.users, unanimous.mean) == (4, 1.0)
    assert unanimous.variance == pytest.approx(np.var([1.0, 1.0, 1.0, 1.0, 0.0, 3.0]))


@pytest.mark.parametrize(
    ("sample", "mean"),
    [([1e200, -1e200, 0.0], 0.0), ([5e-324, 0.0, 0.0, 0.0], 0.0), ([1.7e308, 1.7e308, 0.0], None)],
)
def test_scores_whose_squares_leave_the_range_of_doubles_have_no_variance(
    sample: list[float], mean: float | None
) -> None:
    with np.errstate(over="ignore"):
        (arm,) = arms_of([sample])
    assert arm == Arm(len(sample), mean, None)


# The sequence


@pytest.mark.parametrize(("planned", "alpha"), [(100, 0.05), (800, 0.01)])
def test_rho_is_that_of_equation_2_6(planned: int, alpha: float) -> None:
    log = math.log(1 / alpha)
    assert rho_squared(planned, alpha) == pytest.approx((2 * log + math.log(2 * log + 1)) / planned)


@pytest.mark.parametrize(("users", "planned", "alpha"), [(100, 100, 0.05), (30, 400, 0.01)])
def test_half_a_width_is_that_of_theorem_2_2(users: int, planned: int, alpha: float) -> None:
    rho2 = rho_squared(planned, alpha)
    grown = users * rho2 + 1
    inside = 2 * grown / (users**2 * rho2) * math.log(math.sqrt(grown) / alpha)
    expected = 0.5 * math.sqrt(users) * math.sqrt(inside)
    assert float(half_width(0.5, users, planned, alpha)) == pytest.approx(expected)


def test_widths_broadcast() -> None:
    found = half_width([[0.5], [1.0]], [10, 100], 100, 0.05)
    assert found.shape == (2, 2) and found.dtype == np.float64
    assert found[1] == pytest.approx(2 * found[0])
    assert found[0, 1] == pytest.approx(float(half_width(0.5, 100, 100, 0.05)))


@pytest.mark.parametrize("z", [0.0, 1.3, -3.0])
def test_the_e_value_is_the_normal_mixtures_likelihood_ratio(z: float) -> None:
    """Integrated over the prior of the drift, of which rho is the scale [1, section 2]."""
    users, planned, alpha = 60, 200, 0.05
    rho = math.sqrt(rho_squared(planned, alpha))

    def likelihood(drift: float) -> float:
        ratio = math.exp(drift * z * math.sqrt(users) - users * drift**2 / 2)
        return ratio * float(stats.norm.pdf(drift, scale=rho))

    expected, _ = integrate.quad(likelihood, -8 * rho, 8 * rho, points=[z / math.sqrt(users)])
    assert e_value(z, users, planned, alpha) == pytest.approx(expected, rel=1e-6)


def test_e_values_are_finite() -> None:
    assert e_value(1e6, 1000, 1000, 0.05) == math.exp(700)
    assert sample_ratio_e([10**7, 0], [1, 1]) == math.exp(700)


# Intervals and differences


def test_an_arms_interval_is_around_its_mean() -> None:
    half = float(half_width(math.sqrt(0.2 / 40), 40, 100, 0.05))
    assert mean_interval(CONTROL, 100, 0.05) == (0.25 - half, 0.25 + half)
    assert mean_interval(Arm(1, 0.5, None), 100, 0.05) is None
    assert mean_interval(Arm(3, None, 0.5), 100, 0.05) is None


def test_a_difference_is_treatment_minus_control_at_all_users() -> None:
    found = difference(CONTROL, TREATMENT, planned=200, alpha=0.01)
    error = math.sqrt(0.2 / 40 + 0.24 / 60)
    half = float(half_width(error, 100, 200, 0.01))
    e = e_value(0.25 / error, 100, 200, 0.01)
    assert found.estimate == 0.25 and found.enough_users
    assert found.low == pytest.approx(0.25 - half) and found.high == pytest.approx(0.25 + half)
    assert found.e_value == pytest.approx(e) and found.p_value == pytest.approx(min(1.0, 1 / e))


def test_a_p_value_is_1_over_e_and_never_above_1() -> None:
    strong = difference(CONTROL, Arm(60, 0.9, 0.1), planned=200, alpha=0.05)
    assert strong.e_value is not None and strong.e_value > 20
    assert strong.p_value == pytest.approx(1 / strong.e_value)
    none = difference(CONTROL, Arm(60, 0.25, 0.1), planned=200, alpha=0.05)
    assert none.e_value is not None and none.e_value < 1 and none.p_value == 1.0


@pytest.mark.parametrize(
    ("control", "treatment", "estimate"),
    [
        (Arm(0, None, None), TREATMENT, None),
        (CONTROL, Arm(0, None, None), None),
        (Arm(1, 0.5, None), TREATMENT, 0.0),
        (CONTROL, Arm(1, 1.0, None), 0.75),
        (Arm(40, -1.7e308, 1.0), Arm(40, 1.7e308, 1.0), None),
    ],
)
def test_without_two_variances_there_is_an_estimate_alone(
    control: Arm, treatment: Arm, estimate: float | None
) -> None:
    assert difference(control, treatment, planned=100, alpha=0.05) == EffectEstimate(estimate)
    assert EffectEstimate(estimate).sign == 0


@pytest.mark.parametrize(
    ("control", "treatment", "enough"),
    [(10, 10, True), (9, 40, False), (40, 9, False), (10, 11, True)],
)
def test_both_arms_need_ten_users(control: int, treatment: int, enough: bool) -> None:
    assert MINIMUM_USERS == 10
    arms = Arm(control, 0.0, 0.01), Arm(treatment, 9.0, 0.01)
    found = difference(*arms, planned=50, alpha=0.05)
    assert found.enough_users is enough
    assert found.sign == (1 if enough else 0)
    assert difference(*reversed(arms), planned=50, alpha=0.05).sign == (-1 if enough else 0)


@pytest.mark.parametrize(
    ("variants", "share"), [(1, 0.05), (2, 0.05), (3, 0.025), (6, 0.01), (0, 0.05)]
)
def test_comparisons_share_alpha(variants: int, share: float) -> None:
    assert bonferroni(0.05, variants) == pytest.approx(share)


# The split


def test_the_split_is_judged_by_the_dirichlet_multinomial() -> None:
    """One user after the other: the predictive share over the planned share, multiplied."""
    order, shares = [0, 2, 2, 1, 2, 0, 2], [3, 1, 4]
    prior = 100 * np.asarray(shares) / 8
    seen, log_e = np.zeros(3), 0.0
    for variant in order:
        predicted = (prior + seen)[variant] / (100 + seen.sum())
        log_e += math.log(predicted / (shares[variant] / 8))
        seen[variant] += 1
    assert float(sample_ratio_log_e([2, 1, 4], shares)) == pytest.approx(log_e)
    assert sample_ratio_e([2, 1, 4], shares) == pytest.approx(math.exp(log_e))


def test_splits_are_judged_many_at_a_time() -> None:
    counts = [[[1, 2], [30, 4]], [[0, 0], [5, 5]]]
    found = sample_ratio_log_e(counts, [1, 1])
    assert found.shape == (2, 2) and found[1, 0] == pytest.approx(0.0)
    assert found[0, 1] == pytest.approx(float(sample_ratio_log_e([30, 4], [1, 1])))
