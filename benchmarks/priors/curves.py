"""Published learning curves over the learning rate: held-out loss of each model and LoRA rank."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np

#: Facts of thinking-machines-lab/tinker-cookbook, recipes/chat_sl/results/sft_sweep.md
#: (Apache-2.0); the sizes are those in the models' names and cards.
SWEEPS = Path(__file__).with_name("sft.csv")

_STEP, _LOWEST, _HIGHEST = 0.01, -5.0, -2.0


@dataclass(frozen=True)
class Curve:
    """Held-out loss of one model at one rank, by log10 of the learning rate, ascending.

    Between rates the loss is the parabola through the three nearest, below the lowest the line
    through the lowest two. Above the highest, runs diverged or were not tried: infinite.
    """

    model: str
    active_billions: float
    rank: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    def loss(self, rate: float) -> float:
        """The loss at log10 of a learning rate."""
        rates, losses = self.rates, self.losses
        if rate > rates[-1] + 1e-9:
            return math.inf
        if rate < rates[0]:
            slope = (losses[1] - losses[0]) / (rates[1] - rates[0])
            return losses[0] + slope * (rate - rates[0])
        middle = min(range(1, len(rates) - 1), key=lambda at: abs(rates[at] - rate))
        near = slice(middle - 1, middle + 2)
        return float(np.polyval(np.polyfit(rates[near], losses[near], 2), rate))

    @cached_property
    def best(self) -> tuple[float, float]:
        """log10 of the best rate among those between the published, and its loss."""
        count = round((_HIGHEST - _LOWEST) / _STEP) + 1
        places = [_LOWEST + _STEP * at for at in range(count)]
        tried = [rate for rate in places if self.rates[0] <= rate <= self.rates[-1]]
        return min(((rate, self.loss(rate)) for rate in tried), key=lambda pair: pair[1])

    def excess(self, rates: Sequence[float]) -> float:
        """How far the best of these rates is above the best loss, relative to it; at least 0."""
        best = self.best[1]
        return max(0.0, min(self.loss(rate) for rate in rates) / best - 1)


def read_curves(path: Path = SWEEPS) -> list[Curve]:
    """The curves of a CSV file with at least three rates; runs at the same rate are averaged."""
    losses: dict[tuple[str, float, int], dict[float, list[float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = (row["model"], float(row["active_billions"]), int(row["rank"]))
            by_rate = losses.setdefault(key, {})
            rate = math.log10(float(row["learning_rate"]))
            by_rate.setdefault(rate, []).append(float(row["test_nll"]))
    return [
        Curve(*key, tuple(sorted(by_rate)), tuple(fmean(by_rate[rate]) for rate in sorted(by_rate)))
        for key, by_rate in losses.items()
        if len(by_rate) >= 3
    ]
