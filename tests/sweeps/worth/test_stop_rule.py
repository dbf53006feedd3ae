"""When `sweep.stop_when` ends a search."""

import pytest

from align.recipe import SweepConfig
from sweeps.trials import TrialSummary
from sweeps.worth.next_trial import Measure
from sweeps.worth.stop_rule import early_stop

MEASURE = Measure("reward")
CLOSE, APART = (0.50, 0.51, 0.505, 0.508), (0.1, 0.5, 0.3, 0.2)


def decision(objectives, gain_below=0.01, wanted=20, startup=2, states=None, **sweep):
    config = SweepConfig(trials=20, stop_when={"gain_below": gain_below}, **sweep)
    states = states or ["COMPLETE"] * len(objectives)
    trials = [
        TrialSummary(number, state, {}, value, 10)
        for number, (value, state) in enumerate(zip(objectives, states, strict=True))
    ]
    return early_stop(config, trials, wanted, startup, MEASURE)


def test_a_search_stops_once_the_next_trial_promises_too_little():
    stop = decision(CLOSE)
    assert (stop.begun, stop.wanted, stop.gain_below) == (4, 20, 0.01)
    assert 0 < stop.gain < 0.01
    assert stop.text.startswith("stopped by stop_when: expected gain 0.00")
    assert stop.text.endswith(" < 0.01 after 4 of 20 trials")


def test_a_search_goes_on_while_trials_differ_by_much():
    assert decision(APART) is None
    assert decision(APART, gain_below=0.5) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"startup": 4},
        {"points": [{"learning_rate": 0.1}] * 4},
        {"states": ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]},
        {"states": ["COMPLETE", "COMPLETE", "COMPLETE", "RUNNING"], "startup": 3},
        {"wanted": 4},
    ],
)
def test_a_sensible_minimum_comes_first(changed):
    assert decision(CLOSE, **changed) is None


def test_without_a_rule_nothing_stops():
    trials = [TrialSummary(n, "COMPLETE", {}, 0.5, 10) for n in range(9)]
    assert early_stop(SweepConfig(trials=20), trials, 20, 2, MEASURE) is None
