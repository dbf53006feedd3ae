"""The scaling benchmark: what it makes of when trials ran."""

from benchmarks.scaling.run import _when
from sweeps.trials import TrialSummary


def ran(number, node, began, ended):
    run = {"began": began, "ended": ended, "node": node, "worker": "1"}
    return TrialSummary(number, "COMPLETE", {}, 1.0, 1, ran={"1": run})


def test_gaps_are_between_trials_of_one_worker():
    trials = (ran(0, "a", 102.0, 107.0), ran(1, "b", 103.0, 108.0), ran(2, "a", 107.5, 112.0))
    found = _when(trials, 100.0)
    assert found == {"workers": 2, "first": 2.0, "last_worker": 3.0, "gap": 0.5}
