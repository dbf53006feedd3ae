"""Intervals, ranks and estimators of held-out measurements. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

RESAMPLES = 2000


def wilson(successes: float, count: int, z: float = 1.959964) -> tuple[float, float]:
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
    """Difference of two systems on the same items, with a 95 % bootstrap interval."""

    difference: float
    low: float
    high: float
    count: int


def paired(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> Paired:
    """Paired bootstrap over items: 95 % percentile interval of the mean of `ours - theirs`.

    Efron & Tibshirani, An Introduction to the Bootstrap, 1993; 2,000 resamples.
    """
    differences = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    means = differences[_draws(len(differences), seed)].mean(axis=1)
    return _interval(float(differences.mean()), means, len(differences))


def paired_auc(
    ours: Sequence[float], theirs: Sequence[float], liked: Sequence[float], seed: int = 0
) -> Paired:
    """As `paired`, for the difference of two `auc`s; draws without both labels are left out."""
    values, labels = np.asarray([ours, theirs], dtype=float), np.asarray(liked, dtype=float)

    def gain(draw: Any) -> float:
        return auc(values[0][draw], labels[draw]) - auc(values[1][draw], labels[draw])

    gains = np.asarray([gain(draw) for draw in _draws(len(labels), seed)])
    difference = gain(np.arange(len(labels)))
    return _interval(difference, gains[np.isfinite(gains)], len(labels))


def _draws(count: int, seed: int) -> Any:
    """(RESAMPLES, count) indices of items, drawn with replacement."""
    return np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))


def _interval(difference: float, resampled: Any, count: int) -> Paired:
    if not len(resampled):
        return Paired(difference, math.nan, math.nan, count)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Paired(difference, float(low), float(high), count)


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
