"""Intervals, ranks and estimators of held-out measurements. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np

RESAMPLES = 2000
#: From this number of degrees of freedom on, `mean_bounds` is the bootstrap.
BOOTSTRAP_FROM = 34
#: Of 95 % intervals.
_Z = 1.959964


def wilson(successes: float, count: int, z: float = _Z) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927); (0, 1) for no observations."""
    if count == 0:
        return 0.0, 1.0
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = (
        z
        / (1 + z * z / count)
        * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    )
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Paired:
    """Mean difference of two systems on the same items, with a 95 % interval.

    `low` and `high` are NaN where the items allow no interval. `higher` and `lower` count the items
    on which ours has the larger and the smaller value. `p_value` is the exact sign test's of these
    counts; None where only the interval decides (see `paired`).
    """

    difference: float
    low: float
    high: float
    count: int
    higher: int = 0
    lower: int = 0
    p_value: float | None = None

    def plain(self) -> dict[str, float | None]:
        """The fields as JSON has them: None for NaN."""
        bounds = {
            name: bound_or_none(getattr(self, name)) for name in ("difference", "low", "high")
        }
        return {**asdict(self), **bounds}


def bound_or_none(value: float) -> float | None:
    """An interval's bound as JSON has it: None for NaN."""
    return None if math.isnan(value) else value


def paired(
    ours: Sequence[float], theirs: Sequence[float], *, share: bool = False, seed: int = 0
) -> Paired:
    """The mean of `ours - theirs` over items, without items on which either is NaN.

    `share`: the values are 0, 1, or 0.5 for a tie. Then the interval is `newcombe`'s, and the
    p-value that of `sign_test`, which for 0 and 1 is McNemar's exact test. Other values get the
    interval of `mean_bounds`; where there is none, the sign test alone can tell.
    """
    values = np.asarray([ours, theirs], dtype=float)
    values = values[:, np.isfinite(values).all(axis=0)]
    differences = values[0] - values[1]
    count, higher, lower = (
        len(differences),
        int((differences > 0).sum()),
        int((differences < 0).sum()),
    )
    if count == 0:
        return Paired(math.nan, math.nan, math.nan, 0)
    low, high = newcombe(*values) if share else mean_bounds(differences, seed)
    decides = share or math.isnan(low)
    p_value = sign_test(higher, lower) if decides else None
    return Paired(float(differences.mean()), low, high, count, higher, lower, p_value)


def newcombe(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Newcombe's hybrid score interval for the difference of two shares of the same items.

    Method 10 of Newcombe, Improved confidence intervals for the difference between binomial
    proportions based on paired data, Statistics in Medicine 17 (1998), 2635-2650: Wilson's
    intervals of both shares, joined by the continuity-corrected correlation phi. Its width is
    never 0, also where no item differs. A value of 0.5 counts half in the table of items that
    both, only ours, only theirs and neither got right; the variance of such values is at most that
    of 0 and 1 with the same mean, so the interval is none too narrow for ties.
    """
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    n = len(a)
    both, neither = float(np.minimum(a, b).sum()), float(n - np.maximum(a, b).sum())
    first, second = float(a.sum()), float(b.sum())
    product = both * neither - (first - both) * (second - both)
    corrected = max(product - n / 2, 0.0) if product > 0 else product
    margins = first * (n - first) * second * (n - second)
    phi = corrected / math.sqrt(margins) if margins > 0 else 0.0
    return square_and_add((first / n, *wilson(first, n)), (second / n, *wilson(second, n)), phi)


def square_and_add(
    ours: tuple[float, float, float], theirs: tuple[float, float, float], correlation: float
) -> tuple[float, float]:
    """The interval of a difference from two estimates, each (estimate, low, high).

    Zou & Donner, Construction of confidence limits about effect measures: a general approach,
    Statistics in Medicine 27 (2008), 1693-1702.
    """
    (a, a_low, a_high), (b, b_low, b_high) = ours, theirs

    def distance(first: float, second: float) -> float:
        squares = first**2 - 2 * correlation * first * second + second**2
        return math.sqrt(max(squares, 0.0))

    low = a - b - distance(a - a_low, b_high - b)
    high = a - b + distance(a_high - a, b - b_low)
    return max(low, -1.0), min(high, 1.0)


def sign_test(higher: int, lower: int) -> float:
    """The exact two-sided p-value of the sign test: do as many items move up as down?

    Items that do not move are left out. For values of 0 and 1 it is McNemar's exact test (McNemar,
    Psychometrika 12 (1947), 153-157). 1 if no item moved.
    """
    moved = higher + lower
    tail = sum(math.comb(moved, k) for k in range(min(higher, lower) + 1))
    return min(1.0, 2 * tail / (1 << moved))


def mean_bounds(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a mean of values without known bounds; NaN without spread.

    The degrees of freedom are the values that differ from the most frequent value: few exceptions
    among many equal values tell little of how large exceptions are, however many the values. From
    34 on, the percentile bootstrap of 2,000 resamples (Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993). Below, where that is too narrow (Hesterberg, What teachers should know about
    the bootstrap, The American Statistician 69 (2015), 371-386), Student's t.
    """
    numbers = np.asarray(values, dtype=float)
    # Equal values may differ by rounding.
    rounded = np.round(numbers / (np.abs(numbers).max(initial=0.0) or 1.0), 9)
    freedom = len(numbers) - int(np.unique(rounded, return_counts=True)[1].max(initial=0))
    if freedom == 0:
        return math.nan, math.nan
    if freedom >= BOOTSTRAP_FROM:
        resampled = numbers[_draws(len(numbers), seed)].mean(axis=1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        return float(low), float(high)
    from scipy.special import stdtrit  # takes long to import

    half = float(stdtrit(freedom, 0.975) * numbers.std(ddof=1) / math.sqrt(len(numbers)))
    return float(numbers.mean()) - half, float(numbers.mean()) + half


def _draws(count: int, seed: int) -> Any:
    """(RESAMPLES, count) indices of items, drawn with replacement."""
    return np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))


def auc(values: Sequence[float], liked: Sequence[float]) -> float:
    """Probability that a liked item's value exceeds a disliked one's; ties count half.

    Mann & Whitney's U over the number of pairs (1947). NaN without items of both kinds.
    """
    numbers, labels = np.asarray(values, dtype=float), np.asarray(liked, dtype=float) > 0.5
    liked_values, disliked_values = numbers[labels], np.sort(numbers[~labels])
    if not len(liked_values) or not len(disliked_values):
        return math.nan
    less, at_most = (
        np.searchsorted(disliked_values, liked_values, side) for side in ("left", "right")
    )
    return float((less + at_most).sum() / (2 * len(liked_values) * len(disliked_values)))


def auc_bounds(area: float, liked: int, disliked: int) -> tuple[float, float]:
    """The 95 % score interval of an `auc`, also of 0 and 1; for so many items of each label.

    Method 5 of Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic, part 2, Statistics in Medicine 25 (2006), 559-573: the areas that are 1.96 of their
    own standard errors away.
    """
    size = (liked + disliked) / 2 - 1

    def error(value: float) -> float:
        factor = 1 + size * ((1 - value) / (2 - value) + value / (1 + value))
        return math.sqrt(value * (1 - value) * factor / (liked * disliked))

    def bound(end: float) -> float:
        inside, outside = area, end
        for _ in range(50):
            middle = (inside + outside) / 2
            if abs(middle - area) <= _Z * error(middle):
                inside = middle
            else:
                outside = middle
        return inside

    return bound(0.0), bound(1.0)


def paired_auc(ours: Sequence[float], theirs: Sequence[float], liked: Sequence[float]) -> Paired:
    """The difference of two `auc`s of the same items. NaN without items of both labels.

    The intervals of both, joined by `square_and_add` with their correlation: that of DeLong, DeLong
    & Clarke-Pearson, Biometrics 44 (1988), 837-845, less 2 / items as in `newcombe` at even shares.
    """
    values, labels = np.asarray([ours, theirs], dtype=float), np.asarray(liked, dtype=float) > 0.5
    count, many = len(labels), int(labels.sum())
    if not 0 < many < count:
        return Paired(math.nan, math.nan, math.nan, count)
    a, b = (auc(row, liked) for row in values)
    correlation = _auc_correlation(values, labels)
    low, high = square_and_add(
        (a, *auc_bounds(a, many, count - many)),
        (b, *auc_bounds(b, many, count - many)),
        max(correlation - 2 / count, 0.0) if correlation > 0 else correlation,
    )
    return Paired(a - b, low, high, count)


def _auc_correlation(values: Any, labels: Any) -> float:
    """Of the `auc`s of the rows of `values` (2, items); 0 if one of them has no variance."""
    above = [np.sign(row[labels][:, None] - row[~labels]) for row in values]
    covariance = np.zeros((2, 2))
    for axis in (0, 1):  # share of disliked items below each liked item, and the reverse
        placements = np.asarray([ranks.mean(axis=1 - axis) for ranks in above])
        if placements.shape[1] > 1:
            covariance += np.cov(placements) / placements.shape[1]
    scale = math.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(covariance[0, 1] / scale) if scale > 0 else 0.0


def divergence(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """KL(ours || theirs) from an answer sampled from ours, in nats (per token, per answer).

    `ours` and `theirs` are log-probabilities of the answer's tokens. With r = theirs / ours, the
    estimate per answer is k1, the sum of -log r; per token it is the mean of k3 = (r - 1) - log r,
    which is never negative and has less variance. Both are unbiased. Schulman, Approximating KL
    Divergence, 2020 (http://joschu.net/blog/kl-approx.html).
    """
    logs = [b - a for a, b in zip(ours, theirs, strict=True)]
    return fmean(math.expm1(log) - log for log in logs), -math.fsum(logs)


def compare(first: float, second: float, tolerance: float = 0.0) -> float:
    """1 if the first is larger, 0.5 on a tie, else 0.

    Numbers tie if they differ by at most `tolerance` relative to the larger magnitude; for scores
    that is `align.evaluation.ties.rounding`.
    """
    within = abs(first - second) <= tolerance * max(abs(first), abs(second))
    return 0.5 if first == second or within else 1.0 if first > second else 0.0


def longer_rule(chosen: Sequence[str], rejected: Sequence[str]) -> float:
    """Pair accuracy of the rule "the longer answer is right", in characters."""
    return fmean(compare(len(a), len(b)) for a, b in zip(chosen, rejected, strict=True))
