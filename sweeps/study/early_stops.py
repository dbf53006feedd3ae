"""The decision of `sweep.stop_when`, stored in the study so that every later driver keeps to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from align.recipe import SweepConfig
from sweeps.study.samplers import startup_trials
from sweeps.trials import TrialSummary
from sweeps.worth.next_trial import Measure
from sweeps.worth.stop_rule import EarlyStop, early_stop

#: User attributes of the study: the decision's figures, and the number of trials that a user has
#: asked for explicitly, before which no decision is made.
STOPPED_EARLY, ASKED_FOR = "stopped_early", "trials_asked_for"


class StopWhen:
    """The rule of one study. A decision holds until the rule changes or more trials are asked for.

    It is applied once `judge_by` was called. `begun` gives the trials that have begun, `wanted` how
    many there should be.
    """

    def __init__(
        self,
        study: Any,
        sweep: SweepConfig,
        begun: Callable[[], Sequence[TrialSummary]],
        wanted: Callable[[], int],
    ) -> None:
        self._study, self._sweep, self._begun, self._wanted = study, sweep, begun, wanted
        self._measure: Measure | None = None
        self.decision = stored_decision(study.user_attrs, sweep)

    def judge_by(self, measure: Measure) -> None:
        """Apply the rule from now on; the expected gain is that of `measure`."""
        self._measure = measure
        self.consider()

    def consider(self) -> None:
        """Decide by the trials that have begun, unless that is done; a decision is stored."""
        if self._sweep.stop_when is None or self._measure is None or self.decision is not None:
            return
        trials = self._begun()
        if len(trials) < int(self._study.user_attrs.get(ASKED_FOR, 0)):
            return
        startup = startup_trials(self._sweep)
        self.decision = early_stop(self._sweep, trials, self._wanted(), startup, self._measure)
        if self.decision is not None:
            self._study.set_user_attr(STOPPED_EARLY, self.decision.plain())

    def ask_for(self, trials: int) -> None:
        """Let the search go on to so many trials, whatever their expected gain."""
        self._study.set_user_attr(ASKED_FOR, trials)
        self.decision = stored_decision(self._study.user_attrs, self._sweep)


def stored_decision(attributes: Mapping[str, Any], sweep: SweepConfig) -> EarlyStop | None:
    """The decision among a study's user attributes, if it still holds by the recipe's rule."""
    stored, rule = attributes.get(STOPPED_EARLY), sweep.stop_when
    if stored is None or rule is None or rule.gain_below != stored["gain_below"]:
        return None
    return None if attributes.get(ASKED_FOR, 0) > stored["begun"] else EarlyStop(**stored)
