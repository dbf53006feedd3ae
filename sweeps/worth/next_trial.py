"""What the next trial of a search should gain, and what it costs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from align.evaluation.metrics import is_share
from align.recipe import Recipe
from sweeps.trials import DEFAULT, TrialSummary, ranked
from sweeps.worth.expected_gain import LEAST, ExpectedGain, expected_gain, share_noise

_ENDED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class Measure:
    """A search's objective: its name, its direction, and how many items are behind a value of it.

    `items` is 0 where the objective is no share of items; its values then count as exact.
    """

    objective: str
    minimised: bool = False
    items: int = 0


@dataclass(frozen=True)
class NextTrial:
    """The next trial's expected gain, in the objective's unit, and its expected cost.

    `left` trials were not begun yet, and `complete` are complete. `seconds` is what trials of this
    search took on average, pruned trials included; `usd` is None without a price.
    """

    measure: Measure
    gain: ExpectedGain
    left: int
    complete: int
    seconds: float
    usd: float | None = None

    def plain(self) -> dict[str, Any]:
        """The figures as JSON; those of `rest` are for all that are left."""
        return {
            "objective": self.measure.objective,
            "expected_gain": self.gain.next_trial,
            "seconds": self.seconds,
            "usd": self.usd,
            "left": self.left,
            "complete": self.complete,
            "rest": {
                "expected_gain": self.gain.rest if self.left else 0.0,
                "seconds": self.left * self.seconds,
                "usd": None if self.usd is None else self.left * self.usd,
            },
        }

    def text(self) -> str:
        """`next trial: expected gain +0.004 accuracy (0.4 points) for 3 min, 0.02 USD; …`."""
        first = f"expected gain {self._gain(self.gain.next_trial)} for {self._cost(1)}"
        if self.left < 1:
            return f"another trial: {first}"
        if self.left == 1:
            return f"next trial, the last: {first}"
        rest = f"all {self.left} left: {self._gain(self.gain.rest)} for {self._cost(self.left)}"
        return f"next trial: {first}; {rest}"

    def _gain(self, value: float) -> str:
        name = self.measure.objective
        if self.measure.minimised:
            return f"{value:.2g} nats less {name}"
        points = f" ({100 * value:.1f} points)" if is_share(name) else ""
        return f"+{value:.2g} {name}{points}"

    def _cost(self, trials: int) -> str:
        seconds = trials * self.seconds
        time = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
        if self.usd is None:
            return time
        usd = trials * self.usd
        return f"{time}, {f'{usd:.2f}' if usd >= 0.01 else f'{usd:.1g}'} USD"


def measure_of(recipe: Recipe, stage: str) -> Measure:
    """The objective of a stage's search, with the items of its validation split."""
    config = recipe.stages[stage]
    items = recipe.data_of(stage).validation if is_share(config.objective) else 0
    return Measure(config.objective, config.minimised, items)


def next_trial(
    trials: Sequence[TrialSummary], left: int, measure: Measure, usd_per_hour: float | None = None
) -> NextTrial | None:
    """The worth of the next of `left` trials, or of another where none is left.

    None while fewer than `LEAST` trials are complete. `usd_per_hour` is the price of an hour of a
    trial. A trial completes, and can be best, as often as those before it did; trial 0 does not
    count there, since it is never pruned.
    """
    complete = ranked(trials, measure.minimised)
    if len(complete) < LEAST:
        return None
    sign = -1.0 if measure.minimised else 1.0
    objectives = [sign * (trial.objective or 0.0) for trial in complete]
    ended = [trial for trial in trials if trial.state in _ENDED]
    others = sum(trial.number != DEFAULT for trial in ended)
    completed = sum(trial.number != DEFAULT for trial in complete)
    gain = expected_gain(
        objectives,
        max(1, left),
        share_noise(objectives, measure.items),
        (completed + 1) / (others + 1),
    )
    if gain is None:
        return None
    times = [trial.seconds for trial in ended if trial.seconds > 0]
    seconds = sum(times) / len(times) if times else 0.0
    usd = None if usd_per_hour is None else seconds / 3600 * usd_per_hour
    return NextTrial(measure, gain, left, len(complete), seconds, usd)
