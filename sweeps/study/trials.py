"""What is known of a trial, read from the study. Imports no Optuna and no Ray."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from align.recipe.space import Value

#: Names of a trial's user attributes in the study.
RUNG = "rung:"  # + step: the metrics measured there
DECIDED = "decided"  # the last step at which it was decided that the trial goes on
REASON = "reason"  # why it failed


@dataclass(frozen=True)
class Milestone:
    """A measurement of a trial: at a rung (`index` 0, 1, …), or at its last step.

    `step` and `total` are optimizer steps; `metrics` holds at least `objective` and `seconds`.
    """

    step: int
    total: int
    index: int
    metrics: dict[str, float]

    @property
    def last(self) -> bool:
        """Whether the trial is complete with this."""
        return self.step >= self.total

    @property
    def objective(self) -> float:
        """What the search ranks by; NaN if the trial did not measure it."""
        return self.metrics.get("objective", math.nan)


@dataclass(frozen=True)
class Assignment:
    """A trial to run: its number, parameters, and the step up to which it was decided already."""

    number: int
    params: dict[str, Value]
    decided: int = 0


@dataclass(frozen=True)
class TrialSummary:
    """One trial as the study knows it.

    `state` is Optuna's: WAITING, RUNNING, COMPLETE, PRUNED or FAIL. `objective`, `step` and
    `metrics` are of its newest milestone; `rungs` has the metrics of all, by optimizer step.
    `seconds` is what its milestones took, over all attempts.
    """

    number: int
    state: str
    params: dict[str, Value]
    objective: float | None
    step: int
    metrics: dict[str, float] = field(default_factory=dict)
    rungs: dict[int, dict[str, float]] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""


def summarise(trial: Any) -> TrialSummary:
    """The summary of Optuna's FrozenTrial."""
    rungs = {
        int(key.removeprefix(RUNG)): dict(metrics)
        for key, metrics in trial.user_attrs.items()
        if key.startswith(RUNG)
    }
    step = max(rungs, default=0)
    metrics = rungs.get(step, {})
    return TrialSummary(
        number=trial.number,
        state=trial.state.name,
        params=dict(trial.params),
        objective=metrics.get("objective"),
        step=step,
        metrics=metrics,
        rungs=dict(sorted(rungs.items())),
        seconds=sum(one.get("seconds", 0.0) for one in rungs.values()),
        reason=str(trial.user_attrs.get(REASON, "")),
    )


def best_of(trials: Iterable[TrialSummary], minimised: bool) -> TrialSummary | None:
    """The best complete trial; of equals, the earlier one. None if there is none."""
    complete = [one for one in trials if one.state == "COMPLETE" and one.objective is not None]
    sign = 1.0 if minimised else -1.0
    return min(complete, key=lambda one: (sign * (one.objective or 0.0), one.number), default=None)
