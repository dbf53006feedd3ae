"""Intervals and estimators of held-out measurements, against formulas worked out another way."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from scipy import stats

from align.evaluation.statistics import (
    auc,
    auc_bounds,
    compare,
    divergence,
    longer_rule,
    mean_bounds,
    newcombe,
    paired,
    paired_auc,
    sign_test,
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


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        ((36, 14, 0, 0), (0.1528, 0.4167)),
        ((18, 12, 2, 18), (0.0562, 0.3290)),
        ((9, 1, 0, 0), (-0.1894, 0.4042)),
        ((54, 0, 0, 0), (-0.0664, 0.0664)),
        ((53, 0, 0, 1), (-0.0729, 0.0729)),
        ((30, 0, 0, 24), (-0.0358, 0.0358)),
        ((0, 50, 0, 0), (0.8991, 1.0)),
        ((1, 1, 7, 12), (-0.5069, -0.0256)),  # Fagerland et al., Statistics in Medicine 33 (2014)
    ],
)
def test_newcombes_interval_is_the_published_one(
    table: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    """Right by both, by the first, by the second, by neither: Newcombe (1998), method 10."""
    assert newcombe(*pairs(*table)) == pytest.approx(expected, abs=1e-4)


def pairs(both: int, first: int, second: int, neither: int) -> tuple[list[float], list[float]]:
    ours = [1.0] * (both + first) + [0.0] * (second + neither)
    return ours, [1.0] * both + [0.0] * first + [1.0] * second + [0.0] * neither


@pytest.mark.parametrize("count", [8, 16])
def test_an_interval_of_paired_shares_holds_the_truth_over_all_tables(count: int) -> None:
    """Exact coverage, over shares of 0.02 to 0.9 and correlations from none to the largest."""
    tables = np.asarray(
        [table for table in product(range(count + 1), repeat=4) if sum(table) == count]
    )
    bounds = np.asarray([newcombe(*pairs(*table)) for table in tables])
    ways = np.asarray(
        [math.factorial(count) / math.prod(map(math.factorial, map(int, t))) for t in tables]
    )
    chance = np.asarray([sign_test(first, second) for _, first, second, _ in tables.tolist()])
    coverage, shown = [], []
    for p, q, together in product(
        (0.02, 0.2, 0.5, 0.65, 0.9), (0.05, 0.5, 0.65, 0.9), (0, 0.5, 0.95)
    ):
        both = p * q + together * (min(p, q) - p * q)
        cells = np.clip([both, p - both, q - both, 1 - p - q + both], 0, 1)
        likely = ways * np.prod(cells**tables, axis=1)
        assert likely.sum() == pytest.approx(1)
        coverage.append(
            likely[(bounds[:, 0] <= p - q + 1e-9) & (p - q - 1e-9 <= bounds[:, 1])].sum()
        )
        if p == q:
            excluded = (bounds[:, 0] > 0) | (bounds[:, 1] < 0)
            shown.append(likely[excluded & (chance <= 0.05)].sum())
    assert min(coverage) > 0.92 and np.mean(coverage) > 0.95
    assert max(shown) < 0.05  # a difference that does not exist


def test_shares_that_never_differ_leave_room_for_a_difference() -> None:
    for value in (0.0, 0.5, 1.0):
        found = paired([value] * 16, [value] * 16, share=True)
        assert found.difference == 0 and found.low == pytest.approx(-found.high)
        assert 0.05 < found.high < 0.4 and found.p_value == 1.0
    assert paired([0.0] * 16, [0.0] * 16, share=True).high == pytest.approx(wilson(0, 16)[1])
    alone = paired([1.0], [0.0], share=True)
    assert alone.low < 0 < alone.high <= 1.0 and alone.p_value == 1.0


def test_ties_of_half_a_point_count_half() -> None:
    ours, theirs = [1.0, 0.5, 0.5, 0.0] * 5, [0.5, 0.5, 0.0, 0.0] * 5
    found = paired(ours, theirs, share=True)
    assert (found.difference, found.higher, found.lower) == (0.25, 10, 0)
    assert found.low < 0.25 < found.high and found.p_value == pytest.approx(2 / 2**10)
    # All tied: as sure as so many items are, no surer.
    even = paired([0.5] * 16, [0.5] * 16, share=True)
    halves = paired([1.0, 0.0] * 8, [1.0, 0.0] * 8, share=True)
    assert (even.low, even.high) == pytest.approx((halves.low, halves.high))


def test_the_sign_test_is_mcnemars_exact_test() -> None:
    for higher, lower in [(0, 0), (1, 0), (5, 8), (8, 5), (6, 0), (20, 41)]:
        moved = higher + lower
        theirs = stats.binomtest(higher, moved).pvalue if moved else 1.0
        assert sign_test(higher, lower) == pytest.approx(theirs)
    assert sign_test(5, 0) > 0.05 > sign_test(6, 0)


def test_from_35_differences_on_the_interval_is_the_percentile_bootstrap() -> None:
    generator = np.random.default_rng(5)
    ours, theirs = generator.normal(0.3, 1, 60), generator.normal(0, 1, 60)
    found = paired(ours.tolist(), theirs.tolist())
    assert found.count == 60 and found.p_value is None
    assert found.difference == pytest.approx((ours - theirs).mean())
    # Other draws give nearly the same interval: 2,000 of them leave little to chance.
    bootstrap = stats.bootstrap(
        (ours - theirs,), np.mean, n_resamples=2000, method="percentile", random_state=7
    ).confidence_interval
    assert found.low == pytest.approx(bootstrap.low, abs=0.04)
    assert found.high == pytest.approx(bootstrap.high, abs=0.04)


@pytest.mark.parametrize("count", [2, 5, 34])
def test_of_few_differences_the_interval_is_students(count: int) -> None:
    differences = np.random.default_rng(count).normal(1, 2, count)
    found = mean_bounds(differences.tolist())
    theirs = stats.ttest_1samp(differences, 0).confidence_interval()
    assert found == pytest.approx((theirs.low, theirs.high))


def test_a_mean_without_spread_has_no_interval() -> None:
    for values in ([], [0.7], [0.0] * 64, [0.3] * 64, [0.1 + 0.2, 0.3] * 32):
        assert all(map(math.isnan, mean_bounds(values)))
    found = paired([2.5] * 9, [2.0] * 9)
    assert math.isnan(found.low) and math.isnan(found.high)
    assert (found.higher, found.lower, found.p_value) == (9, 0, pytest.approx(2 / 2**9))


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_few_equal_differences_among_many_zeros_are_not_certain(level: float) -> None:
    """5 of 64 say as little as the sign test does of them: p = 0.06."""
    low, high = mean_bounds([level + 0.2] * 5 + [level] * 59)
    assert low < level < high
    low, _ = mean_bounds([level + 0.2] * 8 + [level] * 56)
    assert low > level


def test_a_mean_is_covered_in_19_of_20_samples() -> None:
    generator = np.random.default_rng(0)

    def coverage(draw: Callable[[], np.ndarray], mean: float) -> float:
        bounds = [mean_bounds(draw().tolist()) for _ in range(400)]
        held = [low <= mean <= high for low, high in bounds if not math.isnan(low)]
        return sum(held) / len(held)

    def moved(share: float, count: int) -> np.ndarray:
        return generator.choice([-1.0, 0.0, 1.0], count, p=[share / 2, 1 - share, share / 2])

    for count in (5, 20, 64):
        assert coverage(lambda count=count: generator.normal(0.3, 1, count), 0.3) > 0.92  # type: ignore[misc]
    for share in (0.05, 0.2, 0.6):
        assert coverage(lambda share=share: moved(share, 64), 0.0) > 0.92  # type: ignore[misc]


def test_items_that_are_no_numbers_are_left_out() -> None:
    nan = math.nan
    found = paired([1.0, nan, 3.0, 2.0], [0.5, 1.0, nan, 1.0])
    assert (found.difference, found.count, found.higher) == (0.75, 2, 2)
    nothing = paired([nan], [1.0])
    assert nothing.count == 0 and math.isnan(nothing.difference) and math.isnan(nothing.low)
    assert paired([], [], share=True).count == 0


def test_draws_depend_on_the_seed_alone() -> None:
    generator = np.random.default_rng(5)
    ours, theirs = generator.normal(size=(2, 40)).tolist()
    assert paired(ours, theirs) == paired(ours, theirs, seed=0) == paired(ours, theirs)
    assert paired(ours, theirs) != paired(ours, theirs, seed=1)


def test_an_interval_is_pinned() -> None:
    """Reports of two versions can be compared only if the same items give the same interval."""
    found = paired([index / 7 for index in range(40)], [(index % 5) / 2 for index in range(40)])
    assert found.difference == pytest.approx(1.7857142857)
    assert (found.low, found.high) == pytest.approx((1.2678571429, 2.3037946429))


@pytest.mark.parametrize(("area", "shift"), [(0.5, 0.0), (0.76, 1.0), (0.921, 2.0)])
def test_an_areas_interval_is_that_of_95_percent(area: float, shift: float) -> None:
    generator = np.random.default_rng(4)
    held = 0
    for _ in range(400):
        liked = [1.0] * 12 + [0.0] * 20
        values = (np.asarray(liked) * shift + generator.normal(0, 1, 32)).tolist()
        low, high = auc_bounds(auc(values, liked), 12, 20)
        held += low <= area <= high
    assert 0.92 < held / 400 < 0.985


def test_a_perfect_order_of_few_items_is_not_certain() -> None:
    low, high = auc_bounds(1.0, 3, 4)
    assert high == 1.0 and 0.4 < low < 0.8
    low, high = auc_bounds(0.0, 3, 4)
    assert low == 0.0 and 0.2 < high < 0.6
    assert auc_bounds(1.0, 300, 400)[0] > 0.98


def test_areas_of_the_same_items_are_correlated() -> None:
    generator = np.random.default_rng(3)
    liked = (np.arange(60) % 2).astype(float)
    ours = liked + generator.normal(0, 1, 60)
    close, far = ours + generator.normal(0, 0.2, 60), liked + generator.normal(0, 1, 60)

    def width(theirs: np.ndarray) -> float:
        found = paired_auc(ours.tolist(), theirs.tolist(), liked.tolist())
        whole = auc(ours.tolist(), liked.tolist()) - auc(theirs.tolist(), liked.tolist())
        assert found.count == 60 and found.difference == pytest.approx(whole)
        assert found.low < found.difference < found.high
        return found.high - found.low

    assert width(close) < 0.6 * width(far)


def test_three_items_do_not_show_which_order_is_better() -> None:
    found = paired_auc([1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0])
    assert found.difference == 1.0 and found.low < 0 and found.high == 1.0


def test_without_both_labels_there_is_no_interval() -> None:
    found = paired_auc([1.0, 2.0], [2.0, 1.0], [1.0, 1.0])
    assert found.count == 2
    assert all(math.isnan(value) for value in (found.difference, found.low, found.high))


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
