"""The same sweep on pools of pretended T4 nodes, of which some leave and some join in mid-sweep."""

import random

import pytest

from align.recipe import parse_recipe
from cluster.database import open_database
from cluster.pool import read_pool
from cluster.ray import ray_session
from cluster.settings import Settings
from cluster.simulated import simulated_pool
from sweeps.events import MilestoneReported, PoolChanged, TrialRetried
from sweeps.pipeline import run_pipeline
from sweeps.pool.placement import make_placement
from sweeps.pool.worker_preflight import check_workers
from sweeps.study.study_session import StudySession
from sweeps.trials import Milestone
from tests.sweeps.fake_trial import objective
from tests.sweeps.toy_recipe import FAKE, RECIPE

pytestmark = pytest.mark.chaos

SPOT, STEADY = {"ray.io/market-type": "spot"}, {"ray.io/market-type": "on-demand"}


class Pool:
    """T4 nodes that a test can add and switch off, and a driver that has joined them."""

    def __init__(self, pool, settings):
        self._pool = pool
        self.settings = settings
        self.nodes = []

    def join(self, labels=SPOT, wait=True):
        node = self._pool.join(cpus=1, gpus=1, accelerator="T4", labels=labels, wait=wait)
        self.nodes.append(node)
        return node

    def leave(self, node):
        self.nodes.remove(node)
        self._pool.leave(node)

    def run(self, recipe, stages, on_event=None, **more):
        """As `alignery sweep run --accelerator T4 --label ray.io/market-type=spot` does."""
        placement = make_placement(
            self.settings, recipe, stages, accelerator="t4", labels=SPOT, **more
        )
        check_workers(self.settings, placement, recipe)
        return run_pipeline(
            self.settings,
            recipe,
            stages,
            fresh=True,
            placement=placement,
            factory=FAKE,
            on_event=on_event,
        )


@pytest.fixture
def pool(settings):
    with simulated_pool() as simulated:
        joined = Settings(ray_address=simulated.address)
        with ray_session(joined):
            yield Pool(simulated, joined)


def searched(trials=6):
    """Nothing is pruned and points are drawn by number alone, so that order cannot tell."""
    raw = {**RECIPE, "stages": {name: dict(one) for name, one in RECIPE["stages"].items()}}
    for stage in raw["stages"].values():
        more = {
            "pruner": "none",
            "sampler": "random",
            "retries": 0,
            "finalists": 0,
            "trials": trials,
        }
        stage["sweep"] = {**stage["sweep"], **more}
    return parse_recipe(raw)


def facts(trials):
    """What must not depend on which machines there were."""
    return [
        (one.number, one.state, one.params, {at: m["objective"] for at, m in one.rungs.items()})
        for one in trials
    ]


def unbroken(settings, recipe, stage):
    """The trials of a study that one process drives from its first step to its last."""
    database, config = open_database(settings), recipe.stages[stage]
    steps = (*config.sweep.rungs, recipe.steps(stage))
    with StudySession(settings, database, "unbroken", config) as bridge:
        while (one := bridge.ask()) is not None:
            for index, step in enumerate(steps):
                value = objective(one.params, step, steps[-1])
                bridge.report(
                    one.number,
                    Milestone(step, steps[-1], index, {"objective": value, "seconds": 0.0}),
                )
        found = bridge.trials()
    database.close()
    return found


def test_a_node_that_leaves_and_one_that_joins_change_nothing_in_the_study(pool, behave):
    pool.join(wait=False)
    pool.join(wait=False)
    pool.join(labels=STEADY)  # not asked for: it gets no trial
    pool._pool.settle()
    behave(sleep=0.3)
    events = []

    def listen(event):
        events.append(event)
        if isinstance(event, MilestoneReported) and len(pool.nodes) == 3:
            here = event.milestone.ran["node"]  # the trial that was measured goes on there
            pool.leave(next(one for one in pool.nodes[:2] if one.node_id == here))
            pool.join(wait=False)
            pool.join()

    recipe = searched()
    broken = pool.run(recipe, ["sft"], listen)["sft"]
    retried = [one.reason for one in events if isinstance(one, TrialRetried)]
    assert retried and all("its machine went away" in reason for reason in retried)
    assert {one.state for one in broken.trials} == {"COMPLETE"}
    assert any(one.slots > 2 for one in events if isinstance(one, PoolChanged))
    steady = {node.id for node in read_pool() if node.labels == STEADY}
    ran = {run["node"] for one in broken.trials for run in one.ran.values()}
    assert len(ran) >= 2 and not ran & steady
    assert facts(broken.trials) == facts(unbroken(pool.settings, recipe, "sft"))


@pytest.mark.parametrize("count", [4, 8])
def test_a_pipeline_survives_nodes_that_come_and_go(pool, behave, count):
    for _ in range(count):
        pool.join(wait=False)
    pool._pool.settle()
    behave(sleep=0.5)
    rng, events, heard = random.Random(count), [], []

    def listen(event):
        events.append(event)
        if isinstance(event, MilestoneReported):
            heard.append(event)
            if len(heard) % 7 == 0 and len(pool.nodes) > 1:
                pool.leave(rng.choice(pool.nodes))
            if len(heard) % 10 == 0:
                pool.join(wait=False)

    recipe = searched(trials=2 * count)
    broken = pool.run(recipe, recipe.order(), listen)
    assert any(isinstance(one, TrialRetried) for one in events)
    for result in broken.values():
        assert [one.state for one in result.trials] == ["COMPLETE"] * 2 * count
    behave()
    whole = pool.run(recipe, recipe.order())
    assert {name: facts(one.trials) for name, one in whole.items()} == {
        name: facts(one.trials) for name, one in broken.items()
    }
