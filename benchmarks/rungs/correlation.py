"""How well a metric at a rung tells the order of the configurations at the end."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from benchmarks.rungs.curves import StageCurves

RESAMPLES = 500


@dataclass(frozen=True)
class Coefficient:
    """A rank correlation and its 95 % interval; None where all values are equal."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Prediction:
    """A metric at the rung `step` against the final objective on test items.

    `seconds` are the CPU seconds that it took to measure, the mean of the configurations.
    """

    stage: str
    step: int
    metric: str
    kendall: Coefficient
    spearman: Coefficient
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The prediction as plain data."""
        return asdict(self)


def predictions(stage: StageCurves) -> list[Prediction]:
    """Each metric at each rung of a stage, more is better for all."""
    final = [fmean(curve.test) for curve in stage.curves]
    found = []
    for step in stage.steps[:-1]:
        for metric in stage.metrics:
            points = [curve.points[step] for curve in stage.curves]
            values = [fmean(point.promise(metric)) for point in points]
            found.append(
                Prediction(
                    stage.stage,
                    step,
                    metric,
                    _coefficient(kendall, values, final),
                    _coefficient(spearman, values, final),
                    round(fmean(point.seconds[metric] for point in points), 1),
                )
            )
    return found


def kendall(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b; None where all values of a list are equal."""
    return _cosine(*([_sign(a - b) for a, b in combinations(v, 2)] for v in (first, second)))


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rho, with mean ranks for equal values; None where all values are equal."""
    return _cosine(*([sum(_sign(a - b) for b in v) for a in v] for v in (first, second)))


def _sign(value: float) -> float:
    return float((value > 0) - (value < 0))


def _cosine(first: Sequence[float], second: Sequence[float]) -> float | None:
    norms = math.hypot(*first) * math.hypot(*second)
    if norms == 0:
        return None
    return math.fsum(a * b for a, b in zip(first, second, strict=True)) / norms


Measure = Callable[[Sequence[float], Sequence[float]], float | None]


def _coefficient(measure: Measure, values: Sequence[float], final: Sequence[float]) -> Coefficient:
    """The interval is of the percentile bootstrap over configurations, which are few: a rough one.

    Resamples whose values are all equal have no correlation and are left out.
    """
    value = measure(values, final)
    if value is None:
        return Coefficient(None, None, None)
    draw, count = random.Random(0), len(values)
    resampled = []
    for _ in range(RESAMPLES):
        rows = [draw.randrange(count) for _ in range(count)]
        drawn = measure([values[row] for row in rows], [final[row] for row in rows])
        if drawn is not None:
            resampled.append(drawn)
    resampled.sort()
    low = resampled[math.floor(0.025 * (len(resampled) - 1))]
    high = resampled[math.ceil(0.975 * (len(resampled) - 1))]
    return Coefficient(round(value, 3), round(low, 3), round(high, 3))
