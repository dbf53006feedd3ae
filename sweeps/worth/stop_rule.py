"""Whether a search ends before all its trials have run, by `sweep.stop_when`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from align.recipe import SweepConfig
from sweeps.trials import TrialSummary
from sweeps.worth.next_trial import Measure, next_trial


@dataclass(frozen=True)
class EarlyStop:
    """The decision that a search hands out no more trials, with the figures behind it.

    `begun` of `wanted` trials had begun; the next should gain `gain`, less than `gain_below`.
    """

    gain: float
    gain_below: float
    begun: int
    wanted: int

    @property
    def text(self) -> str:
        """The decision in a line."""
        return (
            f"stopped by stop_when: expected gain {self.gain:.2g} < {self.gain_below:g} after "
            f"{self.begun} of {self.wanted} trials"
        )

    def plain(self) -> dict[str, Any]:
        """The fields as JSON."""
        return asdict(self)


def early_stop(
    sweep: SweepConfig,
    trials: Sequence[TrialSummary],
    wanted: int,
    startup: int,
    measure: Measure,
) -> EarlyStop | None:
    """The decision to begin no further trial; None if the search goes on.

    `trials` have begun. Trial 0, the recipe's points and the `startup` trials that are drawn at
    random come first in any case.
    """
    rule, begun = sweep.stop_when, len(trials)
    if rule is None or begun >= wanted:
        return None
    ended = sum(trial.state not in ("RUNNING", "WAITING") for trial in trials)
    if ended < 1 + max(startup, len(sweep.points)):
        return None
    coming = next_trial(trials, wanted - begun, measure)
    if coming is None or coming.gain.next_trial >= rule.gain_below:
        return None
    return EarlyStop(coming.gain.next_trial, rule.gain_below, begun, wanted)
