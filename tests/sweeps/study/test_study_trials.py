"""What is done to a study from outside: deaths, stops, repeats, points, unseen measurements."""

import pytest

from cluster.database import open_database
from sweeps.study.storage import read_trials
from sweeps.study.study_session import StudySession
from sweeps.trials import best_of, ranked
from tests.sweeps.driving import STUDY, at, run, run_all, stage_with, told, value

RAN = {"began": 100.0, "ended": 104.5, "node": "10.0.0.1", "worker": "w1"}


@pytest.fixture
def opened(settings):
    bridges = []

    def open_(stage=None, study=STUDY, **sweep):
        for one in bridges:
            one.close()
        stage = stage or stage_with(**sweep)
        bridges.append(StudySession(settings, open_database(settings), study, stage))
        return bridges[-1]

    yield open_
    for one in bridges:
        one.close()


def test_a_trial_is_tried_again_as_often_as_the_recipe_says_over_all_drivers(opened):
    bridge = opened(retries=2)
    bridge.ask()
    assert bridge.died(0, "out of memory", counts=True)
    bridge.release(0)
    assert bridge.ask().number == 0
    assert bridge.died(0, "out of memory", counts=True)
    bridge = opened(retries=2)
    assert bridge.ask().number == 0
    assert not bridge.died(0, "out of memory again", counts=True)
    assert (bridge.summary(0).state, bridge.summary(0).reason) == ("FAIL", "out of memory again")
    assert not bridge.died(0, "too late", counts=True)
    assert bridge.ask().number == 1


def test_a_lost_machine_is_never_held_against_a_trial(opened):
    bridge = opened(retries=0)
    bridge.ask()
    assert all(bridge.died(0, "node lost", counts=False) for _ in range(5))
    assert not bridge.died(0, "its own fault", counts=True)


def test_a_released_trial_is_handed_out_again_with_what_was_decided(opened):
    bridge = opened()
    first, second = bridge.ask(), bridge.ask()
    assert bridge.report(0, at(0, 0.5))
    for _ in range(2):
        bridge.release(0)
    again = bridge.ask()
    assert (again.number, again.params, again.decided) == (0, first.params, 10)
    assert not bridge.report(0, at(2, 0.5))
    bridge.release(0)
    assert bridge.ask().number == second.number + 1


def test_a_stop_leaves_nothing_open_and_nothing_is_handed_out(opened, settings):
    bridge = opened()
    bridge.ask(), bridge.ask()
    bridge.report(0, at(2, 0.5))
    bridge.stop_open("stopped on request")
    assert bridge.ask() is None and bridge.finished
    assert not bridge.report(1, at(0, 0.5))
    trials = read_trials(settings, STUDY)
    assert [(one.state, one.reason) for one in trials] == [
        ("COMPLETE", ""),
        ("FAIL", "stopped on request"),
    ]
    bridge = opened()  # another driver goes on with the trials that are left
    assert not bridge.finished and bridge.ask().number == 2


def test_a_stop_before_the_first_trial_ends_what_was_queued(opened, settings):
    bridge = opened()
    bridge.stop_open("stopped on request")
    bridge.stop_open("again")
    assert bridge.finished
    assert [one.state for one in read_trials(settings, STUDY)] == ["FAIL"]
    assert bridge.again() == 1
    assert bridge.ask().params == stage_with().defaults()


def test_failed_trials_are_repeated_once_with_their_parameters(opened):
    bridge = opened(trials=3)
    asked = [bridge.ask() for _ in range(3)]
    for one in asked[:2]:
        bridge.fail(one.number, "disk full")
    run(bridge, asked[2])
    assert bridge.finished and bridge.wanted == 3
    assert (bridge.again(), bridge.again()) == (2, 0)
    bridge = opened(trials=3)
    assert bridge.wanted == 5 and not bridge.finished
    repeats = [bridge.ask(), bridge.ask()]
    assert [one.params for one in repeats] == [one.params for one in asked[:2]]
    assert bridge.ask() is None
    run(bridge, repeats[0])
    bridge.fail(repeats[1].number, "disk full again")
    assert [one.again for one in bridge.trials()] == [None, None, None, 0, 1]
    assert bridge.again() == 1 and bridge.wanted == 6
    assert bridge.ask().params == asked[1].params


def test_more_trials_may_be_wanted_of_a_finished_study(opened):
    bridge = opened(trials=3)
    before = told(run_all(bridge))
    bridge = opened(trials=5)
    assert bridge.wanted == 5 and not bridge.finished
    after = told(run_all(bridge))
    assert after[:3] == before and len(after) == 5 and bridge.finished


def test_points_come_after_the_default_with_defaults_where_they_are_silent(opened):
    points = [{"lora.r": 16}, {"learning_rate": 0.1, "lora.r": 4}, {"lora.r": 8}, {"lora.r": 16}]
    bridge = opened(trials=6, points=points)
    first = [bridge.ask().params, bridge.ask().params]
    bridge = opened(trials=6, points=points)
    asked = [bridge.ask().params for _ in range(5)]
    assert asked[:2] == first == [{"learning_rate": 1e-3, "lora.r": rank} for rank in (8, 16)]
    assert asked[2] == {"learning_rate": 0.1, "lora.r": 4}
    # The third point is the default and the fourth the first: they are not tried twice.
    assert asked[3] not in asked[:3] and asked[4] not in asked[:4]


def test_a_field_is_suggested_only_where_it_is_active(opened):
    when = {"weight_decay": {"uniform": [0.0, 0.2], "default": 0.1, "when": {"lora.r": [4, 16]}}}
    bridge = opened(stage_with(when, trials=20, sampler="tpe"))
    trials = run_all(bridge)
    assert "weight_decay" not in trials[0].params
    assert {("weight_decay" in one.params, one.params["lora.r"]) for one in trials} == {
        (True, 4),
        (False, 8),
        (True, 16),
    }


def test_what_a_finished_trial_did_on_unseen_items_is_kept(opened, settings):
    bridge = opened()
    run(bridge, bridge.ask())
    bridge.unseen(0, {"objective": 0.4, "length": 12.0}, RAN)
    bridge.unseen(0, {"objective": 0.45}, RAN)
    for trial in (bridge.summary(0), read_trials(settings, STUDY)[0]):
        assert trial.unseen == {"objective": 0.45}
        assert trial.ran["unseen"] == RAN
        assert trial.objective == value(trial.params, 2)


def test_when_and_where_each_milestone_was_measured_is_kept(opened):
    bridge = opened()
    bridge.ask()
    for index in range(3):
        milestone = at(index, 0.5)
        bridge.report(0, type(milestone)(**{**vars(milestone), "ran": {**RAN, "worker": index}}))
    assert {step: one["worker"] for step, one in bridge.summary(0).ran.items()} == {
        "10": 0,
        "20": 1,
        "30": 2,
    }


def test_only_trials_that_keep_to_the_constraints_are_ranked(opened):
    bridge = opened(rungs=[], pruner="none")
    for violation in (0.0, 0.3, None, -0.2):
        number = bridge.ask().number
        metrics = {} if violation is None else {"violation": violation}
        bridge.report(number, at(2, 0.5 + 0.1 * number, **metrics))
    trials = bridge.trials()
    assert [one.feasible for one in trials] == [True, False, True, True]
    assert trials[1].violation == 0.3 and trials[2].violation is None
    assert [one.number for one in ranked(trials, minimised=False)] == [3, 2, 0]
    assert best_of(trials[1:2], minimised=False) is None


def test_a_search_is_started_once_anything_was_measured(opened):
    bridge = opened(rungs=[])
    assert not bridge.started
    bridge.ask()
    assert not bridge.started
    bridge.report(0, at(2, 0.5))
    assert bridge.started
