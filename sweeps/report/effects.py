"""What each searched field did to the objective: each value against all others. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.progress import value_text
from sweeps.report.data import Parameter, StageReport
from sweeps.trials import TrialSummary

#: With fewer complete trials than this, no effect is computed.
ENOUGH = 6
#: A mean of fewer trials than this has no interval.
_LEAST = 2
_PARTS = 3


@dataclass(frozen=True)
class Effect:
    """The mean objective of the trials with a value of a field, less that of all other trials.

    `value` is the value, or a range of a numeric field, as text. `low` and `high` are NaN where
    either side has fewer than two trials or no spread.
    """

    field: str
    value: str
    trials: int
    mean: float
    difference: float
    low: float
    high: float


def effects(stage: StageReport) -> list[Effect]:
    """Effects of the searched fields, by the final objectives of complete trials.

    Values of a `choice` stand for themselves; other numeric fields are divided into the lower,
    middle and upper third of the trials. The intervals are Welch's (Biometrika 34 (1947), 28-35),
    95 % for all values of a field together (Bonferroni). They do not separate a field from others
    that changed with it. Empty with fewer than `ENOUGH` trials.
    """
    trials = [trial for trial in stage.trials if trial.state == "COMPLETE" and _finite(trial)]
    if len(trials) < ENOUGH:
        return []
    return [effect for parameter in stage.parameters for effect in _of_field(parameter, trials)]


def effects_told(stage: StageReport) -> str:
    """How far the effects can be trusted, or that there are too few trials."""
    count = sum(trial.state == "COMPLETE" and _finite(trial) for trial in stage.trials)
    if count < ENOUGH:
        return f"{count} complete {'trial is' if count == 1 else 'trials are'} too few to tell."
    text = (
        f"Mean {stage.objective} on validation items of the trials with a value, less that of all "
        f"others, over {count} complete trials. An interval with 0 inside shows nothing."
    )
    if count < 20:
        text += " With so few trials the intervals are wide: only large effects can be seen."
    return text


def _finite(trial: TrialSummary) -> bool:
    return trial.objective is not None and math.isfinite(trial.objective)


def _of_field(parameter: Parameter, trials: Sequence[TrialSummary]) -> list[Effect]:
    """The effects of a field; none where all trials have the same value."""
    having = [trial for trial in trials if parameter.name in trial.params]
    groups = _groups(parameter, having)
    if len(groups) < 2:
        return []
    found = []
    for value, numbers in groups:
        inside = [trial.objective or 0.0 for trial in having if trial.number in numbers]
        outside = [trial.objective or 0.0 for trial in having if trial.number not in numbers]
        difference, low, high = _welch(inside, outside, len(groups))
        mean = float(np.mean(inside))
        found.append(Effect(parameter.name, value, len(inside), mean, difference, low, high))
    return found


def _groups(parameter: Parameter, trials: Sequence[TrialSummary]) -> list[tuple[str, set[int]]]:
    """(value or range, numbers of its trials): values of few trials each are put into thirds."""
    values = {trial.number: trial.params[parameter.name] for trial in trials}
    distinct = sorted(set(values.values()), key=lambda value: (str(type(value)), value))
    numeric = all(isinstance(value, int | float) for value in distinct)
    if parameter.choices or not numeric or len(distinct) <= _PARTS:
        return [
            (value_text(value), {number for number, other in values.items() if other == value})
            for value in distinct
        ]
    bounds = np.array_split(np.asarray(distinct), _PARTS)
    return [
        (
            f"{value_text(part[0].item())} to {value_text(part[-1].item())}",
            {number for number, value in values.items() if part[0] <= value <= part[-1]},
        )
        for part in bounds
    ]


def _welch(
    inside: Sequence[float], outside: Sequence[float], intervals: int
) -> tuple[float, float, float]:
    """The difference of two means and its interval, of `intervals` that hold together."""
    difference = float(np.mean(inside) - np.mean(outside))
    if min(len(inside), len(outside)) < _LEAST:
        return difference, math.nan, math.nan
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (inside, outside)]
    variance = sum(parts)
    if variance <= 0:
        return difference, math.nan, math.nan
    from scipy.special import stdtrit  # takes long to import

    sizes = (len(inside) - 1, len(outside) - 1)
    freedom = variance**2 / sum(part**2 / size for part, size in zip(parts, sizes, strict=True))
    half = float(stdtrit(freedom, 1 - 0.025 / intervals)) * math.sqrt(variance)
    return difference, difference - half, difference + half
