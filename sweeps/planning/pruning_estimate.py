"""The expected number of trials that a pruner lets through, before any has run. Imports no Optuna.

The estimate assumes that trials come one after the other with objectives in random order. Real
trials are measured several at a time, and better trials come later, so that some more continue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from align.recipe import SweepConfig
from align.space.optuna_names import PRUNERS, class_name


def survivors(sweep: SweepConfig, trials: int) -> list[float] | None:
    """Trials that reach each rung and, last, the end; None if the pruner is not predictable.

    All trials reach the first rung. Trial 0 always continues.
    """
    if trials == 1:
        return [1.0] * (len(sweep.rungs) + 1)
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
    """A function from the number of trials at a rung to how many continue, or None."""
    if kind == "NopPruner":
        return lambda count: count
    if kind in ("SuccessiveHalvingPruner", "HyperbandPruner"):
        return lambda count: halved(count, sweep.reduction_factor)
    if kind in ("MedianPruner", "PercentilePruner"):
        share = float(options.get("percentile", 50.0)) / 100
        # The default of sweeps.study.pruners: Optuna's own default is as many as a small sweep has.
        startup = int(options.get("n_startup_trials", min(5, max(1, sweep.trials // 4))))
        return lambda count: min(count, startup) + max(0.0, count - startup) * share
    return None


def halved(count: float, factor: int) -> float:
    """Expected survivors of `count` trials that successive halving judges in turn.

    A trial continues if it is among the best 1/factor of the trials at its rung so far. While there
    are fewer than `factor`, the best trial continues (`_is_trial_promotable_to_next_rung`).
    """
    whole = int(count)
    expected = sum(max(1, seen // factor) / seen for seen in range(1, whole + 1))
    following = whole + 1
    return expected + (count - whole) * max(1, following // factor) / following
