"""Held-out measurements as plain numbers, with their intervals. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev

import numpy as np


@dataclass
class Evaluation:
    """What one system did on one split. Lists hold one entry for each item, in the split's order.

    `correct` is 0 or 1; `reward` the weighted sum of `parts`; `lengths` characters of the answer;
    `chosen_scores` are a reward model's, raw;
    `pairs` 1 where the chosen answer was ranked first, 0 where the rejected one was, 0.5 on a tie;
    `nll` nats a token of each held-out completion. Empty lists were not measured.
    """

    system: str
    split: str
    texts: list[str] = field(default_factory=list)
    correct: list[float] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    lengths: list[float] = field(default_factory=list)
    truncated: list[float] = field(default_factory=list)
    pairs: list[float] = field(default_factory=list)
    pair_kinds: list[str] = field(default_factory=list)
    chosen_scores: list[float] = field(default_factory=list)
    nll: list[float] = field(default_factory=list)
    wins: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """Means by name, only of what was measured."""
        lists = {
            "accuracy": self.correct,
            "mean_reward": self.reward,
            "length": self.lengths,
            "truncated": self.truncated,
            "pair_accuracy": self.pairs,
            "nll": self.nll,
            "win_rate": self.wins,
            **{f"reward/{name}": values for name, values in self.parts.items()},
        }
        for kind in sorted(set(self.pair_kinds)):
            lists[f"pair_accuracy/{kind}"] = [
                value for value, one in zip(self.pairs, self.pair_kinds, strict=True) if one == kind
            ]
        means = {name: fmean(values) for name, values in lists.items() if values}
        if self.chosen_scores:
            means["chosen_mean"] = fmean(self.chosen_scores)
            means["chosen_std"] = max(pstdev(self.chosen_scores), 1e-6)
        return means


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
    """Mean difference of two systems on the same items, with a bootstrap interval."""

    difference: float
    low: float
    high: float
    count: int


def paired(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> Paired:
    """Paired bootstrap over items: 95 % percentile interval of the mean of `ours - theirs`.

    Efron & Tibshirani, An Introduction to the Bootstrap, 1993; 2,000 resamples.
    """
    differences = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    rng = np.random.default_rng(seed)
    count = len(differences)
    means = differences[rng.integers(0, count, size=(2000, count))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Paired(float(differences.mean()), float(low), float(high), count)


def compare(first: float, second: float) -> float:
    """1 if the first is larger, 0.5 on a tie, else 0."""
    return 1.0 if first > second else 0.5 if first == second else 0.0


def longer_rule(chosen: Sequence[str], rejected: Sequence[str]) -> float:
    """Pair accuracy of the rule "the longer answer is right", in characters."""
    return fmean(compare(len(a), len(b)) for a, b in zip(chosen, rejected, strict=True))


def objective(name: str, evaluation: Evaluation) -> float:
    """The number that a sweep maximises (or minimises, for `nll`)."""
    key = {"reward": "mean_reward"}.get(name, name)
    return evaluation.metrics().get(key, math.nan)


def bounded(value: float, length: float, parent_length: float, ratio: float | None) -> float:
    """The objective under `length <= ratio * parent_length`.

    A trial beyond the bound loses 1, which puts it below every trial within (objectives that
    can be bounded lie in [0, 1]) and keeps the order among those beyond.
    """
    if ratio is None or length <= ratio * parent_length:
        return value
    return value - 1.0
