"""Leave one model out: rates from all other models' sweeps, judged on that model's curves."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.priors.curves import Curve, read_curves
from sweeps.study.published_rates import OFFSETS

COUNTS = (1, 2, 4)
#: log10 of the ends of the usual space, and how often random rates are drawn from it.
SPACE, DRAWS = (-5.0, -3.0), 100


def fitted(curves: Iterable[Curve]) -> tuple[float, float, float]:
    """Intercept, and slopes by log10 of active billions and of rank, of the best log10 rate."""
    chosen = list(curves)
    features = [[1, math.log10(curve.active_billions), math.log10(curve.rank)] for curve in chosen]
    best = [curve.best[0] for curve in chosen]
    intercept, by_parameters, by_rank = np.linalg.lstsq(
        np.array(features), np.array(best), rcond=None
    )[0]
    return float(intercept), float(by_parameters), float(by_rank)


def measure() -> dict[str, Any]:
    """All ways to choose rates, each with its excess over the best of a left-out model."""
    curves = read_curves()
    models = sorted({curve.model for curve in curves})
    lines = {model: fitted(curve for curve in curves if curve.model != model) for model in models}

    def ours(curve: Curve, count: int) -> Sequence[float]:
        intercept, by_parameters, by_rank = lines[curve.model]
        place = by_parameters * math.log10(curve.active_billions) + by_rank * math.log10(curve.rank)
        return [intercept + place + offset for offset in OFFSETS[:count]]

    ways = [
        *(_row("prior", count, _excesses(curves, count, ours)) for count in COUNTS),
        *(_row("random", count, _random(curves, count)) for count in COUNTS),
        *(_row("log grid", count, _excesses(curves, count, _grid)) for count in COUNTS),
        *(
            _row(f"{rate:.0e} for all", 1, [curve.excess([math.log10(rate)]) for curve in curves])
            for rate in (1e-4, 2e-4)
        ),
    ]
    intercept, by_parameters, by_rank = fitted(curves)
    line = {"intercept": intercept, "active_parameters": by_parameters, "rank": by_rank}
    return {"models": len(models), "curves": len(curves), "line": line, "ways": ways}


def _excesses(
    curves: Iterable[Curve], count: int, rates: Callable[[Curve, int], Sequence[float]]
) -> list[float]:
    return [curve.excess(rates(curve, count)) for curve in curves]


def _grid(_: Curve, count: int) -> Sequence[float]:
    low, high = SPACE
    return [low + (high - low) * (place + 0.5) / count for place in range(count)]


def _random(curves: Iterable[Curve], count: int) -> list[float]:
    source = random.Random(0)
    return [
        curve.excess([source.uniform(*SPACE) for _ in range(count)])
        for curve in curves
        for _ in range(DRAWS)
    ]


def _row(way: str, count: int, excesses: list[float]) -> dict[str, Any]:
    tenth = sorted(excesses)[math.ceil(0.9 * len(excesses)) - 1]
    within = sum(excess <= 0.01 for excess in excesses) / len(excesses)
    return {
        "way": way,
        "rates": count,
        "median": _finite(statistics.median(excesses)),
        "p90": _finite(tenth),
        "within_1_percent": within,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
