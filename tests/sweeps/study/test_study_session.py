"""The bridge to the study, without Ray."""

import math
from dataclasses import replace

import optuna
import pytest

from align.recipe import parse_recipe
from cluster.database import open_database
from sweeps.errors import SweepError, SweepLocked
from sweeps.study.storage import open_storage, read_trials
from sweeps.study.study_session import StudySession
from sweeps.trials import Milestone, best_of

STUDY = "toy/sft/1-abc"
STEPS = (10, 20, 30)


def at(index, objective):
    metrics = {"objective": objective, "accuracy": 0.5, "seconds": 2.0}
    return Milestone(STEPS[index], STEPS[-1], index, metrics)


@pytest.fixture
def stage(recipe):
    return recipe.stages["sft"]


@pytest.fixture
def bridge(settings, stage):
    with StudySession(settings, open_database(settings), STUDY, stage) as opened:
        yield opened


@pytest.fixture
def reopen(settings, stage, bridge):
    def again():
        bridge.close()
        return StudySession(settings, open_database(settings), STUDY, stage)

    return again


def test_the_recipes_defaults_come_first_and_the_number_of_trials_is_kept(bridge, stage):
    handed = [bridge.ask() for _ in range(4)]
    assert handed[0].params == stage.defaults()
    assert [one.number for one in handed] == [0, 1, 2, 3]
    assert bridge.ask() is None
    for one in handed:
        stage.resolve(one.params)  # inside the recipe's space, or RecipeError


def test_the_better_half_goes_on_at_each_rung_and_none_is_pruned_at_the_end(bridge):
    numbers = [bridge.ask().number for _ in range(4)]
    values = (0.5, 0.6, 0.1, 0.55)
    first = [bridge.report(number, at(0, values[number])) for number in numbers]
    # Successive halving compares with those that were there before: 0 was alone.
    assert first == [True, True, False, True]
    assert [bridge.report(0, at(1, 0.6)), bridge.report(1, at(1, 0.4))] == [True, False]
    assert not bridge.report(0, at(2, 0.0))
    assert not bridge.report(3, at(1, 0.1))
    trials = bridge.trials()
    assert [one.state for one in trials] == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    assert bridge.finished
    assert trials[1].step == 20 and trials[1].objective == 0.4
    assert trials[0].rungs[10] == at(0, 0.5).metrics
    assert trials[0].seconds == 6.0


def test_every_rung_of_the_recipe_is_a_decision_whatever_its_steps(settings):
    raw = {
        "name": "odd",
        "base": "tiny-random",
        "data": {"task": "arithmetic"},
        "stages": {
            "sft": {
                "method": "sft",
                "learning_rate": {"loguniform": [1e-5, 1e-1]},
                "max_steps": 100,
                "objective": "accuracy",
                "sweep": {"trials": 2, "rungs": [7, 8, 9], "reduction_factor": 3},
            }
        },
    }
    stage = parse_recipe(raw).stages["sft"]
    for index, step in enumerate((7, 8, 9)):
        with StudySession(settings, open_database(settings), f"odd/sft/{index}", stage) as bridge:
            good, bad = bridge.ask().number, bridge.ask().number
            for earlier in range(index):
                same = Milestone((7, 8, 9)[earlier], 100, earlier, {"objective": 0.5})
                assert bridge.report(good, same) and bridge.report(bad, same)
            assert bridge.report(good, Milestone(step, 100, index, {"objective": 0.9}))
            assert not bridge.report(bad, Milestone(step, 100, index, {"objective": 0.1}))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("index", [0, 2])
def test_an_objective_that_is_no_number_fails_the_trial(bridge, settings, value, index):
    bridge.ask()
    assert not bridge.report(0, at(index, value))
    trial = read_trials(settings, STUDY)[0]
    assert trial.state == "FAIL"
    assert str(value) in trial.reason and f"step {STEPS[index]}" in trial.reason


def test_a_trial_that_measured_no_objective_fails(bridge):
    bridge.ask()
    assert not bridge.report(0, Milestone(10, 30, 0, {"accuracy": 0.5}))
    assert bridge.trials()[0].state == "FAIL"


def test_ending_a_trial_twice_changes_nothing(bridge):
    bridge.ask()
    bridge.fail(0, "crashed")
    bridge.fail(0, "again")
    assert not bridge.report(0, at(2, 0.9))
    trial = bridge.trials()[0]
    assert (trial.state, trial.reason) == ("FAIL", "crashed")


def test_trials_left_running_come_first_with_numbers_parameters_and_rungs(bridge, reopen):
    before = [bridge.ask(), bridge.ask()]
    assert bridge.report(0, at(0, 0.5))
    with reopen() as again:
        after = [again.ask(), again.ask()]
        assert [(one.number, one.params) for one in after] == [
            (one.number, one.params) for one in before
        ]
        assert [one.decided for one in after] == [10, 0]
        assert not again.report(1, at(0, 0.4))  # judged against the rung of the first attempt
        assert again.ask().number == 2


def test_a_repeated_report_keeps_the_first_value_and_asks_the_pruner_once(bridge, settings):
    bridge.ask()
    assert bridge.report(0, at(0, 0.5)) and bridge.report(0, at(0, 0.1))
    assert bridge.trials()[0].rungs[10]["objective"] == 0.5
    study = optuna.load_study(study_name=STUDY, storage=open_storage(settings))
    assert list(study.trials[0].intermediate_values.values()) == [0.5]
    assert set(study.trials[0].system_attrs) >= {"completed_rung_0"}
    assert "completed_rung_1" not in study.trials[0].system_attrs


def test_a_rung_that_was_decided_is_not_judged_again_by_what_came_since(settings, stage):
    stage.sweep.pruner = "median"
    with StudySession(settings, open_database(settings), "toy/sft/6-again", stage) as bridge:
        default, twice, best = (bridge.ask().number for _ in range(3))
        for index in range(3):
            bridge.report(default, at(index, 0.4))
        assert bridge.report(twice, at(0, 0.5)) and bridge.report(twice, at(1, 0.5))
        for index in range(3):
            bridge.report(best, at(index, 0.9))  # beside it, 0.5 is below the median
        for index in (0, 1):  # its worker was restarted from an earlier checkpoint
            assert bridge.report(twice, at(index, 0.5))
            assert bridge.report(twice, at(index, math.nan))
        trial = bridge.summary(twice)
        assert trial.state == "RUNNING"
        assert [one["objective"] for one in trial.rungs.values()] == [0.5, 0.5]
        assert not bridge.report(twice, at(2, 0.8))
        assert not bridge.report(twice, at(2, 0.1))
        trial = bridge.summary(twice)
        assert (trial.state, trial.objective) == ("COMPLETE", 0.8)


def test_of_a_rung_that_was_stored_but_not_decided_the_first_measurement_counts(
    bridge, reopen, settings, monkeypatch
):
    def killed(*_):
        raise KeyboardInterrupt

    first, second = ({"began": at, "ended": at + 1.0, "node": f"{at}"} for at in (1.0, 5.0))
    bridge.ask()
    monkeypatch.setattr(bridge, "_judge", killed)
    with pytest.raises(KeyboardInterrupt):
        bridge.report(0, replace(at(0, 0.5), ran=first))
    with reopen() as again:
        assert again.ask().decided == 0
        assert again.report(0, replace(at(0, 0.1), ran=second))
        trial = again.summary(0)
        assert trial.rungs[10]["objective"] == 0.5 and trial.ran == {"10": first}
    study = optuna.load_study(study_name=STUDY, storage=open_storage(settings))
    assert list(study.trials[0].intermediate_values.values()) == [0.5]


def test_a_resumed_sampler_does_not_repeat_itself(bridge, reopen):
    rates = [bridge.ask().params["learning_rate"] for _ in range(2)]
    for number in (0, 1):
        bridge.fail(number, "x")
    with reopen() as again:
        rates += [again.ask().params["learning_rate"] for _ in range(2)]
    assert len(set(rates)) == 4


def test_a_second_driver_is_locked_out_and_told_by_whom(bridge, settings, stage):
    with pytest.raises(SweepLocked, match=r"toy/sft/1-abc is already driven by process \d+"):
        StudySession(settings, open_database(settings), STUDY, stage)
    bridge.close()
    StudySession(settings, open_database(settings), STUDY, stage).close()


def test_a_study_of_the_other_direction_is_refused(reopen, settings, stage):
    reopen().close()
    turned = stage.model_copy(update={"objective": "nll"})
    with pytest.raises(SweepError, match=r"is to maximize.*'nll' is to minimize"):
        StudySession(settings, open_database(settings), STUDY, turned)
    StudySession(settings, open_database(settings), STUDY, stage).close()  # the lock was given back


def test_lower_is_better_where_the_objective_says_so(settings, stage):
    turned = stage.model_copy(update={"objective": "nll"})
    with StudySession(settings, open_database(settings), "toy/sft/2-nll", turned) as bridge:
        for value in (2.0, 1.0, 3.0):
            number = bridge.ask().number
            for index in range(3):
                if not bridge.report(number, at(index, value)):
                    break
        trials = bridge.trials()
    assert [one.state for one in trials] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert best_of(trials, minimised=True).number == 1


def test_a_stage_without_a_search_has_one_trial(settings, stage):
    fixed = stage.resolve({})
    with StudySession(settings, open_database(settings), "toy/sft/3-fixed", fixed) as bridge:
        assert bridge.ask().params == {}
        assert bridge.ask() is None


@pytest.mark.parametrize("pruner", ["median", "none"])
def test_other_pruners(settings, stage, pruner):
    stage.sweep.pruner = pruner
    with StudySession(settings, open_database(settings), f"toy/sft/4-{pruner}", stage) as bridge:
        good, bad = bridge.ask().number, bridge.ask().number
        for index in range(3):
            bridge.report(good, at(index, 0.9))
        assert bridge.report(bad, at(0, 0.1)) is (pruner == "none")


@pytest.mark.parametrize("pruner", ["successive_halving", "median"])
def test_the_defaults_are_measured_to_the_end_however_poor_they_are(settings, stage, pruner):
    stage.sweep.pruner = pruner
    with StudySession(settings, open_database(settings), f"toy/sft/5-{pruner}", stage) as bridge:
        default, better, worse = (bridge.ask().number for _ in range(3))
        assert default == 0
        assert bridge.report(better, at(0, 0.9)) and bridge.report(better, at(1, 0.9))
        assert not bridge.report(better, at(2, 0.9))
        assert bridge.report(default, at(0, 0.2)) and bridge.report(default, at(1, 0.2))
        assert not bridge.report(worse, at(0, 0.1))
        assert not bridge.report(default, at(2, 0.2))
        assert [one.state for one in bridge.trials()] == ["COMPLETE", "COMPLETE", "PRUNED"]
