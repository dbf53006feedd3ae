"""The figures of a stage, by the events that came."""

from dataclasses import replace

import pytest

from sweeps.events import (
    FinalistMeasured,
    MilestoneReported,
    StageFinished,
    TrialFinished,
    TrialRetried,
    TrialStarted,
)
from sweeps.progress.stage import StageView
from sweeps.trials import Milestone, TrialSummary
from tests.sweeps.progress_events import DONE, PARAMS, STARTED


def measured(number, objective, step=20, **metrics):
    metrics = {"objective": objective, "seconds": 5.0, **metrics}
    return MilestoneReported("dpo", number, Milestone(step, 40, 0, metrics))


@pytest.fixture
def stage():
    view = StageView(STARTED, began=100.0)
    for number in (0, 1):
        view.trial_started(TrialStarted("dpo", number, PARAMS))
    return view


def test_a_trial_is_compared_with_the_default_at_the_same_step(stage):
    stage.measured(measured(0, 0.5, 20))
    stage.measured(measured(0, 0.7, 40))
    stage.measured(measured(1, 0.6, 20))
    default, other = stage.trials
    assert stage.to_default(other) == pytest.approx(0.1)
    assert stage.to_default(default) is None
    stage.measured(measured(1, 0.6, 30))
    assert stage.to_default(stage.trials[1]) is None  # the default was not measured there


def test_a_trial_runs_waits_for_another_worker_and_runs_again(stage):
    assert (stage.running, stage.ended) == (2, 0)
    stage.trial_retried(TrialRetried("dpo", 1, "the node left"))
    assert (stage.running, stage.trials[1].state) == (1, "WAITING")
    stage.trial_started(TrialStarted("dpo", 1, PARAMS, 20))
    assert stage.running == 2 and stage.retried == {1: 1}
    stage.trial_finished(TrialFinished("dpo", DONE))
    stage.trial_retried(TrialRetried("dpo", 0, "as a finalist"))
    assert stage.trials[0].state == "COMPLETE"


def test_the_parents_figure_is_that_of_a_complete_trial(stage):
    stage.measured(measured(0, 0.5, parent_accuracy=0.4))
    assert stage.beside("parent") is None
    stage.trial_finished(TrialFinished("dpo", replace(DONE, metrics={"parent_accuracy": 0.4})))
    assert (stage.beside("parent"), stage.beside("base")) == (0.4, None)


def test_a_reward_stands_there_under_its_name_among_the_metrics():
    view = StageView(replace(STARTED, objective="reward"), 0.0)
    view.trial_finished(TrialFinished("dpo", replace(DONE, metrics={"base_mean_reward": 0.2})))
    assert view.beside("base") == 0.2


def test_time_goes_on_from_earlier_attempts_until_there_is_a_result(stage):
    assert stage.elapsed(130.0) == 60.0 + 30.0
    best = replace(DONE, number=1)
    stage.finish(StageFinished("toy/dpo", "dpo", "toy/dpo:1", best, (DONE, best), 95.0))
    assert stage.elapsed(500.0) == 95.0
    assert stage.best is best and stage.left() is None and stage.work() == []


def test_finalists_come_after_the_trials_and_end_those_that_were_open(stage):
    stage.trial_finished(TrialFinished("dpo", DONE))
    assert not stage.measures_finalists
    stage.finalist_measured(FinalistMeasured("dpo", 0, 0.7, "default", 3))
    assert stage.measures_finalists and stage.finalists == "1/3"
    assert [trial.state for trial in stage.trials] == ["COMPLETE", "FAIL"]


def test_what_an_earlier_driver_began_waits():
    begun = TrialSummary(1, "RUNNING", PARAMS, 0.5, 20)
    view = StageView(replace(STARTED, earlier=(begun, DONE)), 0.0)
    assert [(one.number, one.state) for one in view.trials] == [(0, "COMPLETE"), (1, "WAITING")]
