"""The gain to expect of further trials, from the objectives of those that are complete. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, variance

from scipy.special import gammainc

#: Complete trials from which on the spread of objectives says something.
LEAST = 3
#: Shape before anything was seen, and how many trials it counts as: with a smooth optimum the
#: shape is 2 / d for d fields that matter, and 1 is that of two.
_SHAPE, _PRIOR = 1.0, 6.0
_SHAPES = (0.1, 2.0)
#: A value lies no further below the median than this many times the distance of the best above it.
_REACH = 2.0


@dataclass(frozen=True)
class ExpectedGain:
    """By how much the best objective should improve, in the objective's unit; never negative.

    `next_trial` by a single further trial, `rest` by all that are left together.
    """

    next_trial: float
    rest: float


def expected_gain(
    objectives: Sequence[float], left: int, noise: float = 0.0, completing: float = 1.0
) -> ExpectedGain | None:
    """The expected improvement of the best true objective; None with fewer than `LEAST` values.

    `objectives` are those of complete trials, larger is better; `noise` is the variance that items
    add to each; `completing` is the probability that a trial completes, so that it can be best.
    `left` trials remain.

    Objectives are taken as independent draws of a generalised Pareto distribution with an upper
    end, which is what a smooth optimum leaves of random points: scale and shape by L-moments
    (Hosking, L-moments, Journal of the Royal Statistical Society B 52 (1990), 105-124), the shape
    shrunk towards that of an optimum in two fields. With shape k and scale a, the largest of n + 1
    draws exceeds the largest of n by a Γ(1 + k) n! / Γ(n + 2 + k) on average.

    The best of noisy values is partly luck, so a difference of values counts by the share of their
    variance that is not noise, as in the knowledge gradient (Frazier, Powell & Dayanik, INFORMS
    Journal on Computing 21 (2009), 599-613).
    """
    count = len(objectives)
    if count < LEAST:
        return None
    values = sorted(_drawn_in(objectives, noise))
    second, ratio = _l_moments(values)
    if second <= 0:
        return ExpectedGain(0.0, 0.0)
    ratio = (count * ratio + _PRIOR * (1 - _SHAPE) / (3 + _SHAPE)) / (count + _PRIOR)
    shape = min(_SHAPES[1], max(_SHAPES[0], (1 - 3 * ratio) / (1 + ratio)))
    scale = second * (1 + shape) * (2 + shape)
    factor = scale * completing * _signal(values, noise)
    gains = [factor * _growth(count + more, shape) for more in range(max(0, left))]
    return ExpectedGain(gains[0] if gains else 0.0, sum(gains))


def _growth(count: int, shape: float) -> float:
    """Γ(1 + k) n! / Γ(n + 2 + k) for n = `count` and k = `shape`."""
    log = math.lgamma(1 + shape) + math.lgamma(count + 1) - math.lgamma(count + 2 + shape)
    return math.exp(log)


def share_noise(objectives: Sequence[float], items: int) -> float:
    """The variance that `items` items add to objectives which are shares of items, 0 to 1.

    That of a binomial share at the mean, halved: trials of a search answer the same items, and
    about half of an item's variance is the item's own difficulty, which all of them share.
    """
    if not objectives or items < 1:
        return 0.0
    mean = min(1.0, max(0.0, sum(objectives) / len(objectives)))
    return mean * (1.0 - mean) / items / 2


def _drawn_in(values: Sequence[float], noise: float) -> list[float]:
    """The values, without depths: trials that diverged say nothing of what is above the best."""
    middle = median(values)
    reach = max(max(values) - middle, noise**0.5)
    return [max(value, middle - _REACH * reach) for value in values]


def _l_moments(values: Sequence[float]) -> tuple[float, float]:
    """The second L-moment of ascending values, and the ratio of the third to it."""
    n = len(values)
    b0 = sum(values) / n
    b1 = sum(i * value for i, value in enumerate(values)) / (n * (n - 1))
    b2 = sum(i * (i - 1) * value for i, value in enumerate(values)) / (n * (n - 1) * (n - 2))
    second = 2 * b1 - b0
    return second, (6 * b2 - 6 * b1 + b0) / second if second > 0 else 0.0


def _signal(values: Sequence[float], noise: float) -> float:
    """The expected share of the values' variance that is not noise.

    E[max(0, 1 - noise / v)] where the true variance v given the sample's has the scaled inverse
    chi-squared distribution of the prior 1 / v.
    """
    if noise <= 0:
        return 1.0
    freedom = len(values) - 1
    limit = variance(values) * freedom / noise
    if limit <= 0:
        return 0.0
    below, weighted = (gammainc((freedom + extra) / 2, limit / 2) for extra in (0, 2))
    return float(below - freedom / limit * weighted)
