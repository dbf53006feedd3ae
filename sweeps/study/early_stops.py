"""The decision of `sweep.stop_when`, stored in the study so that every later driver keeps to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    It is applied once `measure` is set, by which the expected gain is computed.
    """

    def __init__(self, study: Any, sweep: SweepConfig) -> None:
        self.measure: Measure | None = None
        self._study, self._sweep = study, sweep
        self.decision = stored_decision(study.user_attrs, sweep)

    @property
    def undecided(self) -> bool:
        """Whether there is a rule to apply and no decision yet."""
        has_rule = self._sweep.stop_when is not None and self.measure is not None
        return has_rule and self.decision is None

    def consider(self, trials: Sequence[TrialSummary], wanted: int) -> None:
        """Decide by the trials that have begun; a decision to stop is stored."""
        asked_for = int(self._study.user_attrs.get(ASKED_FOR, 0))
        if self.measure is None or len(trials) < asked_for:
            return
        startup = startup_trials(self._sweep)
        self.decision = early_stop(self._sweep, trials, wanted, startup, self.measure)
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
