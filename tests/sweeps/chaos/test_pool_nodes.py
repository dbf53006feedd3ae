"""Machines that leave and join in the middle of a sweep."""

import pytest

from cluster.ray import ray_session
from cluster.settings import Settings
from cluster.simulated import simulated_pool
from sweeps.events import MilestoneReported, PoolChanged, TrialRetried
from sweeps.pipeline import run_pipeline
from tests.sweeps.test_pool import graph
from tests.sweeps.toy_recipe import FAKE

pytestmark = pytest.mark.chaos


@pytest.fixture
def pool(settings):
    """A cluster to which machines can be added."""
    with simulated_pool() as made, ray_session(Settings(ray_address=made.address)):
        yield made


def test_a_trial_goes_on_elsewhere_when_its_machine_has_gone(pool, settings, behave, calls):
    nodes = [pool.join() for _ in range(2)]
    # One is certain to be in the middle of its work, on a worker that is known by then.
    behave(sleep=0.5, waits_for={"quick/5": "left"})
    events, left, measured, where = [], [], set(), {}

    def listen(event):
        events.append(event)
        if not isinstance(event, MilestoneReported) or left:
            return
        ran = event.milestone.ran
        where[ran["worker"]] = ran["node"]
        measured.add(event.number)
        # Workers of the other machine that are in the middle of a trial.
        busy = [
            where.get(str(one["pid"])) for one in calls("advance") if one["trial"] not in measured
        ]
        if found := [one for one in nodes if one.node_id in busy and one.node_id != ran["node"]]:
            left.append(found[0])
            pool.leave(found[0])
            (settings.home / "left").touch()
            pool.join(cpus=2)

    recipe = graph(retries=0, trials=30)  # so many that there is enough to do when one has joined
    result = run_pipeline(settings, recipe, ["quick"], factory=FAKE, on_event=listen)["quick"]
    assert left and [one.state for one in result.trials] == ["COMPLETE"] * 30
    retried = [one.reason for one in events if isinstance(one, TrialRetried)]
    assert retried and all("its machine went away" in reason for reason in retried)
    assert any(one.slots >= 3 for one in events if isinstance(one, PoolChanged))
    assert left[0].node_id in {one.ran["10"]["node"] for one in result.trials}
