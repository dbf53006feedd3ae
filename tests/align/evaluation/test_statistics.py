"""Intervals and estimators of held-out measurements, against formulas worked out another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from align.evaluation.statistics import (
    auc,
    compare,
    divergence,
    longer_rule,
    paired,
    paired_auc,
    wilson,
)


@pytest.mark.parametrize(("successes", "count"), [(1, 7), (3, 7), (7, 7), (0, 7), (50, 100)])
def test_wilsons_interval_is_that_of_scipy(successes: int, count: int) -> None:
    theirs = stats.binomtest(successes, count).proportion_ci(0.95, "wilson")
    assert wilson(successes, count) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_a_wider_interval_is_asked_for_by_z() -> None:
    theirs = stats.binomtest(3, 7).proportion_ci(0.99, "wilson")
    assert wilson(3, 7, z=2.575829) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_a_share_never_leaves_0_to_1_and_nothing_is_known_of_no_observations() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    for count in range(1, 60):
        assert wilson(0, count)[0] >= 0.0 and wilson(count, count)[1] <= 1.0
        assert wilson(0, count)[0] == pytest.approx(0.0, abs=1e-12)
        assert wilson(count, count)[1] == pytest.approx(1.0, abs=1e-12)


def test_paired_is_the_percentile_bootstrap_of_the_mean_difference() -> None:
    generator = np.random.default_rng(5)
    ours, theirs = generator.normal(0.3, 1, 60), generator.normal(0, 1, 60)
    found = paired(ours.tolist(), theirs.tolist())
    assert found.count == 60
    assert found.difference == pytest.approx((ours - theirs).mean())
    # Other draws give nearly the same interval: 2,000 of them leave little to chance.
    bootstrap = stats.bootstrap(
        (ours - theirs,), np.mean, n_resamples=2000, method="percentile", random_state=7
    ).confidence_interval
    assert found.low == pytest.approx(bootstrap.low, abs=0.04)
    assert found.high == pytest.approx(bootstrap.high, abs=0.04)


def test_draws_depend_on_the_seed_alone() -> None:
    generator = np.random.default_rng(5)
    ours, theirs = generator.normal(size=(2, 40)).tolist()
    liked = [float(index % 2) for index in range(40)]
    assert paired(ours, theirs) == paired(ours, theirs, seed=0) == paired(ours, theirs)
    assert paired(ours, theirs) != paired(ours, theirs, seed=1)
    assert paired_auc(ours, theirs, liked) == paired_auc(ours, theirs, liked, seed=0)
    assert paired_auc(ours, theirs, liked) != paired_auc(ours, theirs, liked, seed=1)


def test_an_interval_is_pinned() -> None:
    """Reports of two versions can be compared only if the same items give the same interval."""
    ours = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    theirs = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    found = paired(ours, theirs)
    assert (found.difference, found.low, found.high, found.count) == (0.25, -0.25, 0.625, 8)


def test_paired_auc_resamples_items_with_both_systems_and_the_label() -> None:
    generator = np.random.default_rng(3)
    liked = (np.arange(60) % 2).astype(float)
    ours, theirs = liked + generator.normal(0, 1, 60), liked + generator.normal(0, 3, 60)
    found = paired_auc(ours.tolist(), theirs.tolist(), liked.tolist())

    def gain(draw: np.ndarray) -> float:
        return auc(ours[draw], liked[draw]) - auc(theirs[draw], liked[draw])  # type: ignore[arg-type]

    whole = gain(np.arange(60))
    other = np.random.default_rng(11)
    gains = [gain(other.integers(0, 60, 60)) for _ in range(500)]
    low, high = np.quantile(gains, [0.025, 0.975])
    assert found.count == 60 and found.difference == pytest.approx(whole)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05)


def test_draws_without_both_labels_are_left_out() -> None:
    found = paired_auc([1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0])
    assert (found.difference, found.low, found.high) == (1.0, 1.0, 1.0)


def test_without_both_labels_there_is_no_interval() -> None:
    found = paired_auc([1.0, 2.0], [2.0, 1.0], [1.0, 1.0])
    assert found.count == 2
    assert all(math.isnan(one) for one in (found.difference, found.low, found.high))


def test_auc_is_mann_and_whitneys_u_over_the_number_of_pairs() -> None:
    generator = np.random.default_rng(2)
    values = generator.integers(0, 6, 50).astype(float)  # many ties
    liked = generator.integers(0, 2, 50)
    u = stats.mannwhitneyu(values[liked == 1], values[liked == 0]).statistic
    pairs = (liked == 1).sum() * (liked == 0).sum()
    assert auc(values.tolist(), liked.tolist()) == pytest.approx(u / pairs)


def test_auc_reads_a_label_above_one_half_as_liked() -> None:
    assert auc([2.0, 1.0], [0.6, 0.5]) == 1.0
    assert math.isnan(auc([2.0, 1.0], [0.5, 0.5]))
    assert math.isnan(auc([2.0, 1.0], [1.0, 1.0]))
    assert math.isnan(auc([], []))


def test_divergence_is_k3_of_a_token_and_k1_of_the_answer() -> None:
    ours, theirs = [-1.0, -0.5, -2.0], [-1.5, -0.25, -2.0]
    ratios = [math.exp(b - a) for a, b in zip(ours, theirs, strict=True)]
    k3 = [r - 1 - math.log(r) for r in ratios]
    token, answer = divergence(ours, theirs)
    assert token == pytest.approx(sum(k3) / 3)
    assert answer == pytest.approx(0.25)


def test_answers_of_two_lengths_have_no_divergence() -> None:
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter"):
        divergence([-1.0, -1.0], [-1.0])


@pytest.mark.parametrize(("first", "second", "score"), [(2, 1, 1.0), (1, 1, 0.5), (1, 2, 0.0)])
def test_a_tie_counts_half(first: float, second: float, score: float) -> None:
    assert compare(first, second) == score


@pytest.mark.parametrize(
    ("first", "second", "score"),
    [
        (-100.0, -100.001, 0.5), (-100.001, -100.0, 0.5), (-100.0, -100.1, 1.0),
        (-0.001, -0.0011, 1.0), (0.0, 0.0, 0.5), (math.nan, 1.0, 0.0),
    ],
)  # fmt: skip
def test_scores_that_differ_by_rounding_tie(first: float, second: float, score: float) -> None:
    assert compare(first, second, 1e-4) == score


def test_the_longer_answer_is_right_in_so_many_pairs() -> None:
    assert longer_rule(["aaa", "a", "bb", "b"], ["aa", "b", "c", "dd"]) == 0.625
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter"):
        longer_rule(["a", "b"], ["a"])
