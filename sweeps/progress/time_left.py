"""How long searches still take. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeps.events import StageStarted
from sweeps.study.trials import TrialSummary

_OPEN = ("RUNNING", "WAITING")


def pace(trials: Sequence[TrialSummary]) -> float | None:
    """Mean seconds of an optimizer step, measuring included; None before any was taken."""
    taken = sum(trial.step for trial in trials)
    return sum(trial.seconds for trial in trials) / taken if taken else None


def work_left(
    stage: StageStarted,
    trials: Sequence[TrialSummary],
    totals: Mapping[int, int] | None = None,
) -> list[float] | None:
    """Seconds that each trial which is open, or not begun, needs at the mean pace so far.

    `totals` has the steps of trials that differ from the stage's. None before anything was
    measured. Counts no pruning that has not happened, so it is an upper estimate.
    """
    if (seconds := pace(trials)) is None:
        return None
    totals = totals or {}
    steps = [
        max(0, totals.get(one.number, stage.steps) - one.step)
        for one in trials
        if one.state in _OPEN
    ]
    steps += [stage.steps] * max(0, stage.trials - len(trials))
    return [one * seconds for one in steps]


def seconds_left(
    stage: StageStarted,
    trials: Sequence[TrialSummary],
    totals: Mapping[int, int] | None = None,
    slots: int | None = None,
) -> float | None:
    """Seconds until a stage's trials are over if it has `slots` to itself (default: as it began).

    `work_left` shared by those that run at once, but no less than the longest trial takes alone.
    """
    work = work_left(stage, trials, totals)
    if work is None:
        return None
    at_once = stage.concurrent if slots is None else min(slots, stage.trials)
    return max(sum(work) / max(1, at_once), max(work, default=0.0))
