"""Machines that leave and join in the middle of a sweep."""

import os
import sys
from pathlib import Path

import pytest
from conftest import FAKE
from test_pool import graph

from cluster.ray import ray_session
from cluster.settings import Settings
from cluster.simulated import simulated_pool
from sweeps.events import MilestoneReported, PoolChanged, TrialRetried
from sweeps.pipeline import run_pipeline

pytestmark = pytest.mark.chaos


@pytest.fixture
def pool(monkeypatch, settings):
    """A cluster to which machines can be added."""
    here = str(Path(__file__).parent)
    monkeypatch.setattr(sys, "path", [here, *sys.path])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.getenv("PYTHONPATH")])))
    with simulated_pool() as made, ray_session(Settings(ray_address=made.address)):
        yield made


def test_a_trial_goes_on_elsewhere_when_its_machine_has_gone(pool, settings, behave):
    nodes = [pool.join() for _ in range(2)]
    behave(sleep=0.5)
    events, left = [], []

    def listen(event):
        events.append(event)
        if isinstance(event, MilestoneReported) and not left:
            # The machine on which the other trial is in the middle of something.
            left.append(next(one for one in nodes if one.node_id != event.milestone.ran["node"]))
            pool.leave(left[0])
            pool.join(cpus=2)

    recipe = graph(retries=0, trials=5)
    result = run_pipeline(settings, recipe, ["quick"], factory=FAKE, on_event=listen)["quick"]
    assert [one.state for one in result.trials] == ["COMPLETE"] * 5
    retried = [one.reason for one in events if isinstance(one, TrialRetried)]
    assert retried and all("its machine went away" in reason for reason in retried)
    assert any(one.slots >= 3 for one in events if isinstance(one, PoolChanged))
    assert len({one.ran["10"]["node"] for one in result.trials}) == 2
