"""How violated constraints of a stage are reported to the pruner and to the sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_VIOLATION = "violation"


def told(objective: float, metrics: Mapping[str, float], minimised: bool) -> float:
    """The value for the pruner: the objective, or the worst value if a constraint is violated.

    So no feasible trial is pruned in favour of an infeasible trial.
    """
    if metrics.get(_VIOLATION, 0.0) <= 0:
        return objective
    return math.inf if minimised else -math.inf


def constrain(trial: Any, metrics: Mapping[str, float]) -> None:
    """Store an Optuna trial's violation, for samplers that support constraints."""
    violation = metrics.get(_VIOLATION)
    if violation is not None and not trial.constraints:
        # Optuna takes no NaN.
        trial.set_constraint(_VIOLATION, math.inf if math.isnan(violation) else violation)
