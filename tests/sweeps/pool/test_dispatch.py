"""Who runs what, without Ray."""

import json
from types import SimpleNamespace

import pytest

from cluster.pool import Node
from sweeps.pool.dispatch import Dispatcher
from sweeps.pool.placement import Placement
from sweeps.pool.protocols import End
from sweeps.pool.stage_job import StageJob
from sweeps.trials import Assignment


class FakeSearch:
    def __init__(self, recipe, stage, trials):
        self.job = StageJob(settings={}, recipe=recipe, stage=stage, study=stage)
        self.left = [Assignment(number, {}) for number in range(trials)]
        self.heard, self.stopped = [], False

    def ask(self):
        return self.left.pop(0) if self.left else None

    def take(self, task, result):
        return bool(result["goes_on"])

    def died(self, task, end):
        self.heard.append((task.number, end.counts))
        self.left.insert(0, task)

    def holds(self, task):
        return not self.stopped


class FakeWork:
    def __init__(self, *sources):
        self.sources, self.changes = sources, []
        self.finished = False

    def look(self):
        pass

    def pool_changed(self, nodes, slots):
        self.changes.append((nodes, slots))


@pytest.fixture
def pool(recipe):
    def make(*stages, nodes=1, **placement):
        pool = SimpleNamespace(
            nodes=[node(str(at)) for at in range(nodes)],
            now=0.0,
            searches=[FakeSearch(recipe, stage, trials) for stage, trials in stages],
        )
        pool.work = FakeWork(*pool.searches)
        pool.dispatcher = Dispatcher(
            pool.work, Placement(**placement), lambda: tuple(pool.nodes), lambda: pool.now
        )
        return pool

    return make


def node(name):
    return Node(id=name, host="", address="", cpus=2, gpus=1)


def hand_out(dispatcher, prefix="t"):
    """All that fits now: (stage, number)."""
    found = []
    while (one := dispatcher.next(f"{prefix}{len(found)}")) is not None:
        found.append((one["stage"], json.loads(one["assignment"])["number"]))
    return found


def test_earlier_stages_come_first_and_the_rest_waits(pool):
    one = pool(("sft", 1), ("reward", 3))
    assert hand_out(one.dispatcher) == [("sft", 0), ("reward", 0)]
    assert one.dispatcher.result("t1", {"goes_on": True})
    assert not one.dispatcher.result("t0", {"goes_on": False})
    assert hand_out(one.dispatcher, "u") == [("reward", 1)]


def test_machines_that_join_are_used_and_told_of(pool):
    one = pool(("sft", 9), max_concurrent=5)
    assert len(hand_out(one.dispatcher)) == 2
    one.nodes.append(node("second"))
    assert hand_out(one.dispatcher, "u") == []  # it looks every two seconds
    one.now = 2.0
    assert len(hand_out(one.dispatcher, "u")) == 2
    one.now, one.nodes = 4.0, [node(str(at)) for at in range(4)]
    assert len(hand_out(one.dispatcher, "v")) == 1  # five at most
    one.now, one.nodes = 6.0, []
    assert hand_out(one.dispatcher, "w") == []
    assert one.work.changes == [(2, 4), (4, 5), (0, 0)]


def test_stages_of_different_shares_fill_one_pool(pool):
    one = pool(("sft", 1), ("reward", 9), nodes=2, gpus={"sft": 1.0, "reward": 0.5})
    assert [stage for stage, _ in hand_out(one.dispatcher)] == ["sft", "reward", "reward"]


def test_a_worker_that_ran_out_of_memory_beside_others_leaves_room(pool):
    one = pool(("sft", 9), nodes=2)
    assert len(hand_out(one.dispatcher)) == 4
    short = End("memory", counts=True, memory=True)
    one.dispatcher.ended("t3", short)
    assert one.searches[0].heard == [(3, False)]  # too many at once is nobody's fault
    assert hand_out(one.dispatcher, "u") == []
    for trial_id in ("t1", "t2"):
        one.dispatcher.result(trial_id, {"goes_on": False})
    assert hand_out(one.dispatcher, "u") == [("sft", 3), ("sft", 4)]
    for trial_id in ("t0", "u0", "u1"):  # Ray may end several at once
        one.dispatcher.ended(trial_id, short)
    assert [counts for _, counts in one.searches[0].heard] == [False] * 4
    assert hand_out(one.dispatcher, "v") == [("sft", 4)]
    one.dispatcher.ended("v0", short)
    assert one.searches[0].heard[-1] == (4, True)  # it was alone


def test_a_pool_is_filled_to_its_last_place_and_no_further(pool):
    for share in (0.1, 0.3333, 0.49):  # none of them adds up to one exactly
        one = pool(("sft", 99), nodes=1, cpus=0.01, gpus={"sft": share})
        assert len(hand_out(one.dispatcher)) == int(1 / share)


def test_a_worker_that_ran_out_of_memory_alone_is_tried_alone_again(pool):
    one = pool(("sft", 3), max_concurrent=1)
    hand_out(one.dispatcher)
    one.dispatcher.ended("t0", End("memory", counts=True, memory=True))
    assert one.searches[0].heard == [(0, True)]
    assert hand_out(one.dispatcher, "u") == [("sft", 0)]


def test_all_that_run_out_of_memory_at_once_leave_room_for_one_and_slots_say_so(pool):
    one = pool(("sft", 4), nodes=1)
    assert one.dispatcher.slots("sft") == len(hand_out(one.dispatcher)) == 2
    short = End("memory", counts=True, memory=True)
    for trial_id in ("t0", "t1"):
        one.dispatcher.ended(trial_id, short)
    assert one.dispatcher.slots("sft") == 1
    assert len(hand_out(one.dispatcher, "u")) == 1


def test_what_was_stopped_is_given_up_and_heard_of_no_more(pool):
    one = pool(("sft", 1), ("reward", 1))
    hand_out(one.dispatcher)
    one.searches[0].stopped = True
    assert one.dispatcher.revoked() == ["t0"]
    one.dispatcher.ended("t0", End("killed", counts=True))
    assert not one.dispatcher.result("t0", {"goes_on": True})
    assert one.searches[0].heard == []
