"""Probability that a trial which won on unseen items is really better than the default. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from align.evaluation.comparison import Item
from align.evaluation.statistics import Paired

_DRAWS = 20_000
#: Half the width of a 95 % interval, in standard errors.
_Z = 1.959964

#: A challenger's value less the default's, by item.
Differences = Mapping[Item, float]


def probability_better(
    gain: Paired, minimised: bool, own: Differences, others: Sequence[Differences] = ()
) -> float:
    """The probability that the trial with this `gain` over the default is better than it.

    For a single challenger it is the posterior probability under a vague prior. Where items moved
    up or down by the sign test, that is Beta(½ + better, ½ + worse) above ½ (Jeffreys' prior on the
    share of moved items that are better). For other means it is a normal distribution of the
    gain with the 95 % interval's bound nearer 0, under a flat prior. 0.5 where nothing moved.

    With `others`, the trial was the best of several on the same items, which flatters it. Then it
    is the probability that the largest of that many challengers' gains would be smaller if none
    differed from the default: Dunnett's comparison with a control (JASA 50 (1955), 1096-1121), with
    the correlations of the challengers' differences over items (Hothorn, Bretz & Westfall,
    Biometrical Journal 50 (2008), 346-363).
    """
    from scipy.special import ndtr  # takes long to import

    score = _score(gain, minimised)
    if not others:
        return float(ndtr(score))
    correlations = _correlations([own, *others])
    generator = np.random.default_rng(0)
    draws = generator.multivariate_normal(
        np.zeros(len(correlations)), correlations, size=_DRAWS, method="eigh"
    )
    return float((draws.max(axis=1) < score).mean())


def _score(gain: Paired, minimised: bool) -> float:
    """The evidence for a better mean in standard errors; positive if the trial is better."""
    from scipy.special import betainc, ndtri

    better, worse = (gain.lower, gain.higher) if minimised else (gain.higher, gain.lower)
    if gain.p_value is not None or math.isnan(gain.low):
        below = betainc(better + 0.5, worse + 0.5, 0.5)
        return -float(ndtri(below))
    nearer = gain.difference - gain.low if gain.difference > 0 else gain.high - gain.difference
    score = _Z * gain.difference / nearer if nearer > 0 else 0.0
    return -score if minimised else score


def _correlations(challengers: Sequence[Differences]) -> np.ndarray:
    """The correlations of differences over common items, (challengers, challengers).

    They are 0 where a challenger has no spread, and where a measure is no mean over items: that
    makes the largest gain by luck larger, so the probability is none too high.
    """
    common = [item for item in challengers[0] if all(item in values for values in challengers[1:])]
    matrix = np.eye(len(challengers))
    if len(common) < 2:
        return matrix
    values = np.asarray([[by_item[item] for item in common] for by_item in challengers])
    spread = values.std(axis=1) > 0
    if spread.sum() > 1:
        matrix[np.ix_(spread, spread)] = np.corrcoef(values[spread])
    return matrix
