"""The scaling benchmark: what it makes of when trials ran, and the whole of it in small."""

import os
from pathlib import Path

import pytest

from benchmarks.scaling import run as scaling
from benchmarks.scaling.run import _when, measure
from benchmarks.scaling.stand_in import StandIn
from sweeps.trials import TrialSummary
from tests.waiting import wait_until

#: Names the folder in which running trials announce their processes to each other.
MEETING = "ALIGNERY_TEST_MEETING"


def ran(number, node, began, ended):
    run = {"began": began, "ended": ended, "node": node, "worker": "1"}
    return TrialSummary(number, "COMPLETE", {}, 1.0, 1, ran={"1": run})


def test_gaps_are_between_trials_of_one_worker():
    trials = (ran(0, "a", 102.0, 107.0), ran(1, "b", 103.0, 108.0), ran(2, "a", 107.5, 112.0))
    found = _when(trials, 100.0)
    assert found == {"workers": 2, "first": 2.0, "last_worker": 3.0, "gap": 0.5}


class Meeting(StandIn):
    """A trial that ends only when trials have run in two processes.

    Otherwise a quick worker could run all trials while the other worker still starts.
    """

    def advance(self, to: int) -> dict[str, float]:
        folder = Path(os.environ[MEETING])
        (folder / str(os.getpid())).touch()
        wait_until(lambda: len(list(folder.iterdir())) == 2, "trials in two processes", 300)
        return super().advance(to)


@pytest.mark.chaos
def test_it_measures_two_nodes(tmp_path, monkeypatch):
    monkeypatch.setenv(MEETING, str(tmp_path))
    monkeypatch.setattr(scaling, "STAND_IN", "tests.benchmarks.test_scaling:Meeting")
    found = measure(2, trials=4, seconds=0.1)
    assert found["workers"] == 2 and 0 < found["efficiency"] < 1
    assert found["makespan"] > found["last_worker"] >= found["first"] > 0
