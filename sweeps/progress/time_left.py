"""Estimates of the time that searches still need. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeps.events import StageStarted
from sweeps.trials import TrialSummary

_OPEN = ("RUNNING", "WAITING")


def pace(trials: Sequence[TrialSummary]) -> float | None:
    """Mean seconds of an optimizer step, measuring included; None before any step was taken."""
    steps = sum(trial.step for trial in trials)
    return sum(trial.seconds for trial in trials) / steps if steps else None


def work_left(
    stage: StageStarted,
    trials: Sequence[TrialSummary],
    totals: Mapping[int, int] | None = None,
) -> list[float] | None:
    """Seconds that each trial which is open, or not begun, needs at the mean pace so far.

    `totals` has the steps of trials that differ from the stage's. None before anything was
    measured. An upper estimate, since it counts no pruning that has not happened.
    """
    if (seconds := pace(trials)) is None:
        return None
    totals = totals or {}
    steps = [
        max(0, totals.get(trial.number, stage.steps) - trial.step)
        for trial in trials
        if trial.state in _OPEN
    ]
    steps += [stage.steps] * max(0, stage.trials - len(trials))
    return [count * seconds for count in steps]


def seconds_left(
    stage: StageStarted,
    trials: Sequence[TrialSummary],
    totals: Mapping[int, int] | None = None,
    slots: int | None = None,
) -> float | None:
    """Seconds until a stage's trials end if it has `slots` to itself (default: as it began).

    `work_left` shared by the trials that run at once, but no less than the longest trial needs.
    """
    work = work_left(stage, trials, totals)
    if work is None:
        return None
    at_once = stage.concurrent if slots is None else min(slots, stage.trials)
    return max(sum(work) / max(1, at_once), max(work, default=0.0))
