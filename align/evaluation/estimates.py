"""A system's measures over its rows, each with its interval. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from align.evaluation.examples import Example
from align.evaluation.metrics import is_share
from align.evaluation.statistics import auc, auc_bounds, mean_bounds, wilson


@dataclass(frozen=True)
class Estimate:
    """A measure over `count` items, with a 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float
    count: int


def estimate(rows: Sequence[Example], measure: str) -> Estimate:
    """The measure over the rows that have it; all NaN if no row has."""
    if measure == "label_auc":
        return _label_auc([row for row in rows if row.items == "labels"])
    values = [row.numbers[measure] for row in rows if measure in row.numbers]
    if not values:
        return Estimate(math.nan, math.nan, math.nan, 0)
    bounds = wilson(sum(values), len(values)) if is_share(measure) else mean_bounds(values)
    return Estimate(fmean(values), *bounds, len(values))


def _label_auc(rows: Sequence[Example]) -> Estimate:
    values = [row.numbers["log_ratio"] for row in rows]
    liked = [row.numbers["liked"] > 0.5 for row in rows]
    if len(set(liked)) < 2:
        return Estimate(math.nan, math.nan, math.nan, len(rows))
    area = auc(values, liked)
    return Estimate(area, *auc_bounds(area, sum(liked), len(rows) - sum(liked)), len(rows))
