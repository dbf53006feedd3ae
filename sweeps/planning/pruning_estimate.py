"""How many trials a pruner lets through, to be expected before any has been run. Imports no Optuna.

For trials that come one after the other with objectives in no order, as in a plan. Real ones are
measured several at a time, and better ones come later, so that some more go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from align.recipe import SweepConfig
from align.space.optuna_names import PRUNERS, class_name


def survivors(sweep: SweepConfig, trials: int) -> list[float] | None:
    """Trials that reach each rung and, last, the end; None where the pruner's say is not known.

    The first reaches the first rung as all do; trial 0 always goes on.
    """
    passes = _pruner(class_name(sweep.pruner, PRUNERS), sweep.pruner_options, sweep)
    if passes is None and sweep.rungs:
        return None
    reached = [float(trials)]
    for _ in sweep.rungs:
        assert passes is not None  # there are rungs
        reached.append(min(reached[-1], max(1.0, passes(reached[-1]))))
    return reached


def _pruner(
    kind: str, options: Mapping[str, Any], sweep: SweepConfig
) -> Callable[[float], float] | None:
    """How many of so many trials go on at a rung."""
    if kind == "NopPruner":
        return lambda count: count
    if kind in ("SuccessiveHalvingPruner", "HyperbandPruner"):
        return lambda count: halved(count, sweep.reduction_factor)
    if kind in ("MedianPruner", "PercentilePruner"):
        share = float(options.get("percentile", 50.0)) / 100
        # As sweeps.study.pruners has it: Optuna's own default is a whole small sweep.
        first = int(options.get("n_startup_trials", min(5, max(1, sweep.trials // 4))))
        return lambda count: min(count, first) + max(0.0, count - first) * share
    return None


def halved(count: float, factor: int) -> float:
    """Expected survivors of `count` trials that successive halving judges one by one.

    Each that is among the best 1/factor of those at its rung so far goes on, and so does the best
    while they are fewer than `factor` (`_is_trial_promotable_to_next_rung`).
    """
    whole = int(count)
    expected = sum(max(1, seen // factor) / seen for seen in range(1, whole + 1))
    following = whole + 1
    return expected + (count - whole) * max(1, following // factor) / following
