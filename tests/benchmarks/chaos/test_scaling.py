"""The whole scaling benchmark in small."""

import os
from pathlib import Path

import pytest

from benchmarks.scaling import run as scaling
from benchmarks.scaling.run import measure
from benchmarks.scaling.stand_in import StandIn
from tests.waiting import wait_until

pytestmark = pytest.mark.chaos

#: Names the folder in which running trials announce their processes to each other.
MEETING = "ALIGNERY_TEST_MEETING"


class Meeting(StandIn):
    """A trial that ends only when trials have run in two processes.

    Otherwise a quick worker could run all trials while the other worker still starts.
    """

    def advance(self, to: int) -> dict[str, float]:
        folder = Path(os.environ[MEETING])
        (folder / str(os.getpid())).touch()
        wait_until(lambda: len(list(folder.iterdir())) == 2, "trials in two processes", 300)
        return super().advance(to)


def test_it_measures_two_nodes(tmp_path, monkeypatch):
    monkeypatch.setenv(MEETING, str(tmp_path))
    monkeypatch.setattr(scaling, "STAND_IN", "tests.benchmarks.chaos.test_scaling:Meeting")
    found = measure(2, trials=4, seconds=0.1)
    assert found["workers"] == 2 and 0 < found["efficiency"] < 1
    assert found["makespan"] > found["last_worker"] >= found["first"] > 0
