"""What a broken constraint of the stage means to the pruner and to the sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_VIOLATION = "violation"


def told(objective: float, metrics: Mapping[str, float], minimised: bool) -> float:
    """What the pruner hears: the objective, or the worst where a constraint is broken.

    So no trial that keeps to the constraints is pruned for the sake of one that does not.
    """
    if metrics.get(_VIOLATION, 0.0) <= 0:
        return objective
    return math.inf if minimised else -math.inf


def constrain(trial: Any, metrics: Mapping[str, float]) -> None:
    """Tell samplers that know constraints how far an Optuna trial breaks them."""
    violation = metrics.get(_VIOLATION)
    if violation is not None and not trial.constraints:
        # Optuna takes no NaN.
        trial.set_constraint(_VIOLATION, math.inf if math.isnan(violation) else violation)
