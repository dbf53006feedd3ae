"""Many searches on one pool of workers: side by side, warm, asked to pause and to stop."""

import functools
import threading
from dataclasses import dataclass

import pytest

from align.recipe import parse_recipe
from cluster.database import open_database
from sweeps.errors import SweepError, SweepPaused
from sweeps.events import (
    MilestoneReported,
    PoolChanged,
    StageFinished,
    StageStarted,
    TrialRetried,
    TrialStarted,
)
from sweeps.pipeline import run_pipeline
from sweeps.pool import failures, searcher
from sweeps.pool.placement import Placement
from sweeps.study.storage import read_trials
from sweeps.sweep_store import newest
from tests.sweeps.toy_recipe import FAKE

STAGE = {
    "method": "sft",
    "learning_rate": {"loguniform": [1e-5, 1e-1], "default": 1e-3},
    "max_steps": 10,
    "objective": "accuracy",
    "sweep": {"trials": 3, "sampler": "random", "seed": 3, "finalists": 0},
}
#: `child` builds on `quick`; `slow` on nothing.
GRAPH = {
    "name": "graph",
    "base": "tiny-random",
    "data": {"task": "arithmetic"},
    "stages": {
        "quick": STAGE,
        "slow": STAGE,
        "child": {**STAGE, "method": "dpo", "parent": "quick", "objective": "pair_accuracy"},
    },
}

#: A file that nobody makes: what waits for it runs until it is ended.
NEVER = "never"


class FakeControl:
    """Asks what it is told to, once `when` has heard its event."""

    launch = None

    def __init__(self, request, when, line=None):
        self._request, self._when, self._line = request, when, line
        self._now = threading.Event()

    def hear(self, event):
        if self._when(event):
            self._now.set()

    def asked(self, line=None):
        return self._request if self._now.is_set() and line == self._line else ""

    def beat(self):
        pass


@pytest.fixture
def pipeline(local_ray, settings):
    return functools.partial(run_pipeline, settings, factory=FAKE)


def graph(**changed):
    """The graph's recipe, with fields of the stages' sweeps changed."""
    stages = {
        name: {**stage, "sweep": {**stage["sweep"], **changed}}
        for name, stage in GRAPH["stages"].items()
    }
    return parse_recipe({**GRAPH, "stages": stages})


def states(settings, line):
    row = newest(open_database(settings), line)
    return {one.number: one.state for one in read_trials(settings, row.study)}


def test_siblings_run_side_by_side_and_a_child_as_soon_as_its_parent_is_known(
    pipeline, behave, calls
):
    # The last of `quick` ends once `slow` has begun, the first of `slow` once `child` has.
    behave(waits_for={"quick/2": "opened-slow", "slow/0": "opened-child"})
    events = []
    results = pipeline(graph(), on_event=events.append)
    assert list(results) == ["quick", "slow", "child"]
    names = [
        (type(one).__name__, one.stage)
        for one in events
        if isinstance(one, StageStarted | StageFinished)
    ]
    assert names[:4] == [
        ("StageStarted", "quick"),
        ("StageStarted", "slow"),
        ("StageFinished", "quick"),
        ("StageStarted", "child"),
    ]
    parents = {one["parents"][0] for one in calls("open") if one["stage"] == "child"}
    assert len(parents) == 1 and None not in parents
    # Two workers for all three stages: whoever has nothing to do, waits for the next stage.
    assert len({one["pid"] for one in calls("open")}) == 2
    for result in results.values():
        for one in result.trials:
            assert {"began", "ended", "node", "worker"} <= one.ran["10"].keys()
            assert one.metrics["seconds_load"] >= 0


def test_the_finalists_decide_on_unseen_items_and_are_measured_once(
    pipeline, behave, calls, settings
):
    recipe = graph(finalists=2)
    # By luck, the worst trial of three has the best validation objective.
    behave(luck={"1": 5.0, "2": 4.0}, unseen={"trial_1": 0.3, "trial_0": 0.4, "trial_2": 0.7})
    events = []
    result = pipeline(recipe, ["quick"], on_event=events.append)["quick"]
    assert result.unseen.searched_best == 1
    assert result.unseen.chosen == result.best.number == 2
    assert result.version.manifest.params == result.trials[2].params
    systems = {one.name: one for one in result.unseen.systems}
    assert list(systems) == ["default", "trial 1", "trial 2", "base"]
    assert systems["trial 2"].against_default.difference == pytest.approx(0.3)
    assert result.trials[2].unseen["objective"] == 0.7
    workers = {one["pid"] for one in calls("open")}
    assert {one["pid"] for one in calls("unseen")} <= workers
    assert len(calls("unseen")) == 4
    # A sweep that is to have more trials measures only who is new among the best.
    more = graph(finalists=2, trials=4)
    behave(luck={"3": 9.0}, unseen={"trial_3": 0.9})
    longer = pipeline(more, ["quick"], max_concurrent=1)["quick"]
    assert longer.study == result.study and longer.unseen.chosen == 3
    assert [one["name"] for one in calls("unseen")[4:]] == ["trial_3"]
    again = pipeline(more, ["quick"])["quick"]
    assert again.unseen == longer.unseen


def test_a_finalist_whose_worker_fails_is_measured_by_another(pipeline, behave, calls):
    behave(unseen_crash_once=["trial_0", "base"])
    result = pipeline(graph(finalists=1, trials=1), ["quick"], max_concurrent=1)["quick"]
    assert [one.name for one in result.unseen.systems] == ["default", "base"]
    assert sorted(one["name"] for one in calls("unseen")) == ["base"] * 2 + ["trial_0"] * 2


def test_a_pause_leaves_what_runs_for_the_next_driver(pipeline, behave, settings):
    behave(waits_for={"quick/1": NEVER})
    control = FakeControl("pause", lambda one: isinstance(one, TrialStarted) and one.number == 1)
    with pytest.raises(SweepPaused, match="alignery sweep resume graph"):
        pipeline(graph(), ["quick"], on_event=control.hear, control=control, max_concurrent=1)
    assert states(settings, "graph/quick") == {0: "COMPLETE", 1: "RUNNING"}
    assert newest(open_database(settings)).state == "stopped"
    behave()
    result = pipeline(graph(), ["quick"], max_concurrent=1)["quick"]
    assert {one.state for one in result.trials} == {"COMPLETE"}


def test_a_line_that_is_stopped_finishes_with_its_best_and_the_rest_goes_on(
    pipeline, behave, settings
):
    behave(waits_for={"quick/1": NEVER})
    first = functools.partial(finished_trial, "quick")
    control = FakeControl("stop", first, "graph/quick")
    results = pipeline(graph(trials=6), on_event=control.hear, control=control)
    assert list(results) == ["quick", "slow", "child"]
    quick = states(settings, "graph/quick")
    assert (quick[0], quick[1]) == ("COMPLETE", "FAIL") and len(quick) < 6
    reasons = {one.reason for one in results["quick"].trials if one.state == "FAIL"}
    assert reasons == {"stopped on request"}
    assert set(states(settings, "graph/slow").values()) == {"COMPLETE"}
    assert len(results["slow"].trials) == len(results["child"].trials) == 6


def test_a_launch_that_is_stopped_returns_what_there_is(pipeline, behave, settings):
    behave(waits_for={"quick/1": NEVER, "slow": NEVER})
    control = FakeControl("stop", functools.partial(finished_trial, "quick"))
    results = pipeline(graph(trials=6), on_event=control.hear, control=control)
    assert list(results) == ["quick"]
    for line in ("graph/quick", "graph/slow"):
        assert "RUNNING" not in states(settings, line).values()


def finished_trial(stage, event):
    return isinstance(event, MilestoneReported) and event.stage == stage and event.number == 0


@dataclass(frozen=True)
class Wide(Placement):
    """Trials of `child` take the whole machine."""

    def bundle(self, stage):
        return {"CPU": 2 if stage == "child" else 1}

    def holds(self, stage, node):
        return int(node.cpus // self.bundle(stage)["CPU"])


def test_idle_workers_make_room_for_a_stage_that_needs_more(pipeline, calls):
    results = pipeline(graph(trials=2), ["quick", "child"], placement=Wide())
    assert len(results["child"].trials) == 2
    child = {one["pid"] for one in calls("open") if one["stage"] == "child"}
    assert len(child) == 1
    assert not child & {one["pid"] for one in calls("open") if one["stage"] != "child"}


def test_what_ray_ends_for_memory_is_run_again_with_fewer_at_a_time(
    pipeline, behave, monkeypatch, settings
):
    """No test is to fill this machine's memory: a worker dies, and what Ray says is changed."""
    translate = failures.worker_ended

    def as_memory(error):
        found = translate(error)
        return failures.WorkerEnded(str(found), "memory") if found is not error else found

    monkeypatch.setattr(searcher, "worker_ended", as_memory)
    behave(die=[1], waits_for={"quick/0": "opened-quick-1"})  # so that it has one beside it
    events = []
    result = pipeline(graph(retries=0), ["quick"], on_event=events.append)["quick"]
    assert [one.state for one in result.trials] == ["COMPLETE"] * 3  # not held against it
    retried = [(one.number, one.reason) for one in events if isinstance(one, TrialRetried)]
    assert [number for number, _ in retried] == [1] and "memory was nearly full" in retried[0][1]
    assert [one.slots for one in events if isinstance(one, PoolChanged)] in ([], [1])


def test_one_stage_that_fails_ends_all_and_its_siblings_can_go_on(pipeline, behave, settings):
    behave(waits_for={"slow": NEVER, "quick/2": "opened-slow"}, nan=[0, 1, 2])
    with pytest.raises(SweepError, match="no trial of graph/quick"):
        pipeline(graph())
    assert newest(open_database(settings), "graph/slow").state == "stopped"
    assert "RUNNING" in states(settings, "graph/slow").values()


def test_a_worker_that_is_killed_counts_against_its_trial_over_all_drivers(
    pipeline, behave, settings
):
    behave(die_always=[1], crash_once=[2])
    events = []

    def listen(event):
        events.append(event)
        if isinstance(event, TrialRetried) and event.number == 1:
            raise KeyboardInterrupt

    recipe = graph(retries=1)
    with pytest.raises(KeyboardInterrupt):
        pipeline(recipe, ["quick"], on_event=listen, max_concurrent=1)
    assert states(settings, "graph/quick")[1] == "RUNNING"
    events.clear()
    result = pipeline(recipe, ["quick"], on_event=events.append, max_concurrent=1)["quick"]
    found = {one.number: (one.state, one.reason) for one in result.trials}
    assert found[1][0] == "FAIL" and "the worker process died" in found[1][1]
    assert found[2] == ("COMPLETE", "")
    retried = [one for one in events if isinstance(one, TrialRetried)]
    assert [(one.number, one.reason) for one in retried] == [(2, "RuntimeError: a hiccup")]


def test_a_worker_that_lost_its_gpu_is_replaced_and_its_trial_goes_on(pipeline, behave, calls):
    """Whatever the trial makes of the device error; no later trial runs in that process."""
    behave(lose_gpu_once=[1])
    events = []
    result = pipeline(graph(retries=1), ["quick"], on_event=events.append, max_concurrent=1)
    assert [one.state for one in result["quick"].trials] == ["COMPLETE"] * 3
    retried = [(one.number, one.reason) for one in events if isinstance(one, TrialRetried)]
    assert [number for number, _ in retried] == [1]
    assert "GpuLost: CUDA reports 'device-side assert triggered'" in retried[0][1]
    pids = [(one["trial"], one["pid"]) for one in calls("advance")]
    lost_in = next(pid for number, pid in pids if number == 1)
    assert [number for number, pid in pids if pid == lost_in] == [0, 1]
