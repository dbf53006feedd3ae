"""What is known of a trial, read from the study. Imports no Optuna and no Ray."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from align.space.spaces import Value

#: Names of a trial's user attributes in the study.
RUNG = "rung:"  # + step: the metrics measured there
RAN = "ran:"  # + step: when and where they were measured
DECIDED = "decided"  # the last step at which it was decided that the trial goes on
PRUNED = "pruned"  # the step at which it was decided that it does not
REASON = "reason"  # why it failed
DEATHS = "deaths"  # how many workers died of it
AGAIN = "again"  # the failed trial that it repeats
FROM = "from"  # the earlier study it was taken from; such a trial only teaches the sampler
#: + number: what a finished trial's adapter did on unseen items, in the study, since Optuna lets
#: nothing be added to a finished trial.
UNSEEN = "unseen:"


@dataclass(frozen=True)
class Milestone:
    """A measurement of a trial: at a rung (`index` 0, 1, …), or at its last step.

    `step` and `total` are optimizer steps; `metrics` holds at least `objective` and `seconds`.
    `ran` is when and where: `began` and `ended` (seconds since the epoch), `node`, `worker`.
    """

    step: int
    total: int
    index: int
    metrics: dict[str, float]
    ran: dict[str, Any] | None = None

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
    `seconds` is what its milestones took, over all attempts. `violation` is how far the newest
    milestone breaks the stage's constraints (None: it has none); above 0 it is not `feasible`.
    `unseen` has the metrics on unseen items, if any; `ran` when and where each milestone was
    measured, by optimizer step or `unseen`. `again` is the failed trial that it repeats.
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
    violation: float | None = None
    feasible: bool = True
    unseen: dict[str, float] = field(default_factory=dict)
    ran: dict[str, dict[str, Any]] = field(default_factory=dict)
    again: int | None = None


def is_own(trial: Any) -> bool:
    """Whether a FrozenTrial is one of the sweep's, not one that it was warmed up with."""
    return FROM not in trial.user_attrs


def measured(trial: Any) -> dict[int, dict[str, float]]:
    """The metrics of a FrozenTrial's milestones, by optimizer step."""
    return {
        int(key.removeprefix(RUNG)): dict(metrics)
        for key, metrics in trial.user_attrs.items()
        if key.startswith(RUNG)
    }


def summarise(trial: Any, unseen: Mapping[str, Any] | None = None) -> TrialSummary:
    """The summary of Optuna's FrozenTrial; `unseen` is what the study keeps of it."""
    rungs = measured(trial)
    step = max(rungs, default=0)
    metrics = rungs.get(step, {})
    violation = metrics.get("violation")
    attrs = trial.user_attrs
    ran = {key.removeprefix(RAN): dict(at) for key, at in attrs.items() if key.startswith(RAN)}
    unseen = unseen or {}
    if unseen.get("ran"):
        ran["unseen"] = dict(unseen["ran"])
    return TrialSummary(
        number=trial.number,
        state=trial.state.name,
        params=dict(trial.params),
        objective=metrics.get("objective"),
        step=step,
        metrics=metrics,
        rungs=dict(sorted(rungs.items())),
        seconds=sum(one.get("seconds", 0.0) for one in rungs.values()),
        reason=str(attrs.get(REASON, "")),
        violation=violation,
        feasible=violation is None or violation <= 0,
        unseen=dict(unseen.get("metrics", {})),
        ran=ran,
        again=attrs.get(AGAIN),
    )


def ranked(trials: Iterable[TrialSummary], minimised: bool) -> list[TrialSummary]:
    """The complete trials that keep to the constraints, best first; of equals, the earlier one."""
    complete = [
        one
        for one in trials
        if one.state == "COMPLETE" and one.objective is not None and one.feasible
    ]
    sign = 1.0 if minimised else -1.0
    return sorted(complete, key=lambda one: (sign * (one.objective or 0.0), one.number))


def best_of(trials: Iterable[TrialSummary], minimised: bool) -> TrialSummary | None:
    """The first of `ranked`. None if there is none."""
    return next(iter(ranked(trials, minimised)), None)
