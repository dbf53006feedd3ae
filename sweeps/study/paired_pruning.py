"""Which trials pass a rung: those that are not shown worse than the best there, item by item. Pure.

Two trials that measured the same held-out items differ by the mean of their differences on each
item, which varies far less than either mean. A trial is shown worse if a lower confidence bound on
the mean difference to the best trial is above 0. The bound is the one-sided asymptotic confidence
sequence of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (arXiv 2103.06476, theorem 2.2 and section
2.5): it holds for any number of items at once, so also where trials have few items in common. The
error rate is shared among the rungs of a trial and the other trials at a rung (Bonferroni), any of
which may be the best there.

What is shown at a rung need not hold at the end, where trials with other learning rates may have
changed places. So the best few always pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

#: The fewest items in common by which a trial is shown worse.
FEWEST_ITEMS = 8


@dataclass(frozen=True)
class PairedOptions:
    """When a trial is pruned.

    `alpha` is the probability with which an equally good trial may be pruned in the whole search,
    `at_least` how many of the best trials at a rung always pass, `at_most` the share of the trials
    at a rung that pass at most (rounded up; not fewer than `at_least`).
    """

    alpha: float = 0.05
    at_least: int = 2
    at_most: float = 1.0

    def __post_init__(self) -> None:
        """ValueError names an option outside its bounds."""
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is a probability between 0 and 1; got {self.alpha!r}")
        if self.at_least < 1:
            raise ValueError(f"at_least is a number of trials from 1 on; got {self.at_least!r}")
        if not 0 < self.at_most <= 1:
            raise ValueError(f"at_most is a share of trials, above 0 up to 1; got {self.at_most!r}")


@dataclass(frozen=True)
class RungResult:
    """A trial at a rung: its value of each item by the item's key, and if it keeps constraints."""

    values: Mapping[str, float] = field(default_factory=dict)
    feasible: bool = True


def passing(
    results: Mapping[int, RungResult], minimised: bool, rungs: int, options: PairedOptions
) -> frozenset[int]:
    """The numbers of the trials that pass a rung, of all that have reached it.

    `rungs` is the number of rungs of a whole trial. Trials without values pass. A trial that breaks
    a constraint does not pass where others keep them, unless it is among the best few.
    """
    measured = {number: result for number, result in results.items() if result.values}
    if len(measured) < 2:
        return frozenset(results)
    sign = -1.0 if minimised else 1.0

    def order(number: int) -> tuple[bool, float, int]:
        result = measured[number]
        return not result.feasible, -sign * fmean(result.values.values()), number

    ordered = sorted(measured, key=order)
    best = measured[ordered[0]]
    alpha = options.alpha / max(1, rungs) / (len(measured) - 1)
    limit = max(options.at_least, math.ceil(options.at_most * len(ordered)))
    chosen = {
        number
        for place, number in enumerate(ordered)
        if place < options.at_least
        or (place < limit and not _is_worse(measured[number], best, sign, alpha))
    }
    return frozenset(chosen | (results.keys() - measured.keys()))


def _is_worse(result: RungResult, best: RungResult, sign: float, alpha: float) -> bool:
    if best.feasible and not result.feasible:
        return True
    common = best.values.keys() & result.values.keys()
    differences = [sign * (best.values[key] - result.values[key]) for key in sorted(common)]
    return len(common) >= FEWEST_ITEMS and lower_bound(differences, alpha) > 0


def lower_bound(values: Sequence[float], alpha: float) -> float:
    """A one-sided lower confidence bound on the mean of the population of `values`.

    Asymptotically it is above the mean for any number of values with a probability of at most
    `alpha`; it is tightest for as many as there are.
    """
    count, mean = len(values), fmean(values)
    error = stdev(values) / math.sqrt(count)
    two_sided = min(2 * alpha, 1.0)
    # `spread` is n·rho², with rho chosen for this number of values (their equation 17).
    spread = -2 * math.log(two_sided) + math.log(1 - 2 * math.log(two_sided))
    spread = max(spread, 1e-9)
    width = math.sqrt(2 * (spread + 1) / spread * math.log1p(math.sqrt(spread + 1) / (2 * alpha)))
    return mean - error * width
