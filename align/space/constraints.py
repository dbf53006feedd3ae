"""Constraints on a trial's metrics, beside its objective.

`length <= 1.2 * parent.length`: a metric of the trial, `<=` or `>=`, and a bound. The bound is
arithmetic of numbers and of metrics of the stage's parent and of the base.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from align.space import expressions

System = Literal["parent", "base"]

_METRIC = r"[A-Za-z_]\w*(?:/(?!parent\.|base\.)[A-Za-z_][\w-]*)*"
_WHOLE = re.compile(rf"\s*({_METRIC})\s*(<=|>=)\s*([^<>=\s][^<>=]*)")
_BESIDE = re.compile(rf"\b(parent|base)\.({_METRIC})")
_FORM = "<metric> <= <bound> or <metric> >= <bound>, e.g. length <= 1.2 * parent.length"
#: The objective's name for the metric `mean_reward`.
_NAMES = {"reward": "mean_reward"}


@dataclass(frozen=True)
class Constraint:
    """One constraint. `beside` are the metrics of other systems that its bound uses."""

    text: str
    metric: str
    at_most: bool
    beside: tuple[tuple[System, str], ...]
    bound: ast.expr

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that it uses: the trial's, then `parent.…` and `base.…`."""
        return (self.metric, *(f"{system}.{metric}" for system, metric in self.beside))

    def violation(self, value: float, beside: Mapping[tuple[System, str], float]) -> float:
        """How far a trial with this `value` of the metric is beyond the bound, relative to it.

        `value / bound - 1` for `<=`, `1 - value / bound` for `>=`: the constraint holds at 0 and
        below, and 0.1 means a violation by a tenth of the bound. The difference is divided by the
        absolute value of the bound; it is absolute where the bound is 0. ValueError if the bound
        cannot be computed.
        """
        values = {f"_{index}": beside[measurement] for index, measurement in enumerate(self.beside)}
        bound = expressions.evaluate(self.bound, values.__getitem__)
        beyond = value - bound if self.at_most else bound - value
        return beyond / abs(bound) if abs(bound) > 1e-9 else beyond


@lru_cache(maxsize=512)
def read_constraint(text: str) -> Constraint:
    """Parse a constraint. ValueError says what is wrong with `text`."""
    parts = _WHOLE.fullmatch(text)
    if parts is None:
        raise ValueError(f"expected {_FORM}; got {text!r}")
    metric, sign, bound = parts.groups()
    beside: dict[tuple[System, str], str] = {}

    def stand_in(match: re.Match[str]) -> str:
        measurement: tuple[System, str] = (match[1], _named(match[2]))  # type: ignore[assignment]
        return beside.setdefault(measurement, f"_{len(beside)}")

    tree = expressions.read(_BESIDE.sub(stand_in, bound))
    if foreign := [name for name in expressions.names_in(tree) if name not in beside.values()]:
        raise ValueError(
            f"'{foreign[0]}': a bound may use numbers, parent.<metric> and base.<metric>; "
            f"got {text!r}"
        )
    return Constraint(text, _named(metric), sign == "<=", tuple(beside), tree)


def needed(constraints: Iterable[str]) -> set[str]:
    """The metrics that the constraints use, of the trial, its parent or the base."""
    parsed = [read_constraint(text) for text in constraints]
    return {
        name
        for constraint in parsed
        for name in (constraint.metric, *(metric for _, metric in constraint.beside))
    }


def broken(
    constraint: Constraint, metrics: Mapping[str, float], beside: Mapping[tuple[System, str], float]
) -> float | None:
    """The violation of a constraint; None if a metric that it uses was not measured.

    ValueError if its bound cannot be computed.
    """
    value = metrics.get(constraint.metric, math.nan)
    references = [beside.get(measurement, math.nan) for measurement in constraint.beside]
    if not all(map(math.isfinite, (value, *references))):
        return None
    return constraint.violation(value, beside)


def _named(metric: str) -> str:
    return _NAMES.get(metric, metric)
