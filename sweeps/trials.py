"""Data about a trial, read from the study. Imports no Optuna and no Ray."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from align.space.spaces import Value

#: Number of the trial that has the recipe's default configuration.
DEFAULT = 0

#: The most items whose values are stored of a milestone.
MOST_VALUES = 2000

#: Names of a trial's user attributes in the study.
RUNG = "rung:"  # + step: the metrics measured there
VALUES = "values:"  # + step: the rung metric of each item, by the item's key
RAN = "ran:"  # + step: when and where they were measured
DECIDED = "decided"  # the last step at which it was decided that the trial continues
PRUNED = "pruned"  # the step at which it was decided that the trial ends
REASON = "reason"  # why it failed
DEATHS = "deaths"  # how many lost workers count against it
AGAIN = "again"  # the failed trial that it repeats
ORIGIN = "origin"  # where its point came from, if it was queued
FROM = "from"  # the earlier study it was taken from; such a trial only informs the sampler
#: + number: the metrics of a finished trial's adapter on unseen items. An attribute of the study,
#: since Optuna allows no changes to a finished trial.
UNSEEN = "unseen:"


@dataclass(frozen=True)
class Milestone:
    """A measurement of a trial at a rung (`index` 0, 1, …) or at its last step.

    `step` and `total` are optimizer steps; `metrics` holds `seconds`, and `objective` or `rung`
    (the rung metric), at the last step `objective`. `values` has the rung metric of each item by
    the item's key, for comparisons item by item. `ran` says when and where: `began` and `ended`
    (seconds since the epoch), `node`, `worker`.
    """

    step: int
    total: int
    index: int
    metrics: dict[str, float]
    ran: dict[str, Any] | None = None
    values: dict[str, float] | None = None

    @property
    def last(self) -> bool:
        """Whether this is the trial's last milestone."""
        return self.step >= self.total

    @property
    def objective(self) -> float:
        """The value by which trials are ranked; NaN if the trial did not measure it."""
        return self.metrics.get("objective", math.nan)

    @property
    def decisive(self) -> float:
        """The value that decides whether the trial continues; NaN if it was not measured."""
        return self.objective if self.last else self.metrics.get("rung", self.objective)


@dataclass(frozen=True)
class Assignment:
    """A trial to run: number, parameters, and the last step at which it was decided to continue."""

    number: int
    params: dict[str, Value]
    decided: int = 0


@dataclass(frozen=True)
class TrialSummary:
    """One trial as stored in the study.

    `state` is Optuna's: WAITING, RUNNING, COMPLETE, PRUNED or FAIL. `objective`, `step` and
    `metrics` are of its newest milestone; `rungs` has the metrics of all, by optimizer step.
    `seconds` is the time of its milestones, over all attempts. `violation` is how far the newest
    milestone violates the stage's constraints (None: no constraints); if above 0, the trial is not
    `feasible`. `unseen` has the metrics on unseen items, if any; `ran` when and where each
    milestone was measured, by optimizer step or `unseen`. `again` is the failed trial that it
    repeats. `origin` says where its point came from: `default`, `point` (of the recipe),
    `warm start: <study>`, `prior: <source>`, `sampler` or `again`.
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
    origin: str = "sampler"


def is_own(trial: Any) -> bool:
    """Whether a FrozenTrial is the sweep's own, not from a warm start."""
    return FROM not in trial.user_attrs


def measured(trial: Any) -> dict[int, dict[str, float]]:
    """The metrics of a FrozenTrial's milestones, by optimizer step."""
    return {
        int(key.removeprefix(RUNG)): dict(metrics)
        for key, metrics in trial.user_attrs.items()
        if key.startswith(RUNG)
    }


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Values of items with six significant digits, as they are stored; at most MOST_VALUES."""
    return {key: float(f"{value:.6g}") for key, value in list(values.items())[:MOST_VALUES]}


def summarise(trial: Any, unseen: Mapping[str, Any] | None = None) -> TrialSummary:
    """The summary of Optuna's FrozenTrial; `unseen` is the study's attribute for the trial."""
    rungs = measured(trial)
    step = max(rungs, default=0)
    metrics = rungs.get(step, {})
    violation = metrics.get("violation")
    attrs = trial.user_attrs
    ran = {
        key.removeprefix(RAN): dict(details)
        for key, details in attrs.items()
        if key.startswith(RAN)
    }
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
        seconds=sum(rung.get("seconds", 0.0) for rung in rungs.values()),
        reason=str(attrs.get(REASON, "")),
        violation=violation,
        feasible=violation is None or violation <= 0,
        unseen=dict(unseen.get("metrics", {})),
        ran=ran,
        again=attrs.get(AGAIN),
        origin=_origin(trial),
    )


def _origin(trial: Any) -> str:
    """Where a FrozenTrial's point came from; earlier versions did not store it."""
    if AGAIN in trial.user_attrs:
        return "again"
    if trial.number == DEFAULT:
        return "default"
    queued = "point" if "fixed_params" in trial.system_attrs else "sampler"
    return str(trial.user_attrs.get(ORIGIN, queued))


def ranked(trials: Iterable[TrialSummary], minimised: bool) -> list[TrialSummary]:
    """The complete, feasible trials, best first; equal trials by number."""
    complete = [
        trial
        for trial in trials
        if trial.state == "COMPLETE" and trial.objective is not None and trial.feasible
    ]
    sign = 1.0 if minimised else -1.0
    return sorted(complete, key=lambda trial: (sign * (trial.objective or 0.0), trial.number))


def best_of(trials: Iterable[TrialSummary], minimised: bool) -> TrialSummary | None:
    """The first of `ranked`. None if there is none."""
    return next(iter(ranked(trials, minimised)), None)
