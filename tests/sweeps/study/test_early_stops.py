"""`sweep.stop_when` in a study: what is handed out, and what later drivers keep to."""

import pytest

from cluster.database import open_database
from sweeps.study.storage import read_attributes
from sweeps.study.study_session import StudySession
from sweeps.worth.next_trial import Measure
from tests.sweeps.driving import STUDY, run_all, stage_with

MEASURE = Measure("accuracy")


def flat(params, index):
    """All learning rates do nearly the same."""
    return 0.5 + params["learning_rate"] / 100


@pytest.fixture
def opened(settings):
    def open_(stage, measure=MEASURE):
        session = StudySession(settings, open_database(settings), STUDY, stage)
        if measure is not None:
            session.stop_when.judge_by(measure)
        return session

    return open_


@pytest.fixture
def stage():
    return stage_with(trials=12, rungs=[], pruner="none", stop_when={"gain_below": 0.05})


def test_a_flat_search_ends_after_the_random_start(settings, opened, stage):
    with opened(stage) as session:
        trials = run_all(session, flat)
        stop = session.stop_when.decision
        assert session.finished and session.wanted == len(trials) == stop.begun < 12
        assert f"after {len(trials)} of 12 trials" in stop.text
    assert read_attributes(settings, STUDY)["stopped_early"] == stop.plain()


def test_running_trials_finish_and_the_next_driver_keeps_to_the_decision(opened, stage):
    with opened(stage) as session:
        held = session.ask()
        number = len(run_all(session, flat)) - 1
        assert session.stop_when.decision is not None and not session.finished
    with opened(stage) as session:
        assert session.ask().number == held.number
        assert session.ask() is None
        session.fail(held.number, "crashed")
        assert session.finished and session.wanted == number + 1


def test_a_search_whose_trials_differ_runs_them_all(opened):
    stage = stage_with(trials=6, rungs=[], pruner="none", stop_when={"gain_below": 1e-6})
    with opened(stage) as session:
        assert len(run_all(session)) == 6
        assert session.stop_when.decision is None


def test_trials_that_were_asked_for_run_whatever_they_promise(opened, stage):
    with opened(stage) as session:
        begun = len(run_all(session, flat))
        session.stop_when.ask_for(begun + 2)
        assert not session.finished
    changed = stage.model_copy(deep=True)
    changed.sweep.trials = begun + 2
    with opened(changed) as session:
        assert len(run_all(session, flat)) == begun + 2
        assert session.finished and session.stop_when.decision is None


def test_failed_trials_are_repeated_in_spite_of_a_decision(opened, stage):
    with opened(stage) as session:
        failed = session.ask()
        session.fail(failed.number, "crashed")
        begun = len(run_all(session, flat))
        assert session.again() == 1
        assert session.ask().params == failed.params
        assert session.wanted >= begun + 1


def test_a_recipe_without_the_rule_or_with_another_goes_on(opened, stage):
    with opened(stage) as session:
        begun = len(run_all(session, flat))
    without = stage.model_copy(deep=True)
    without.sweep.stop_when = None
    with opened(without) as session:
        assert session.wanted == 12 and not session.finished
    lower = stage.model_copy(deep=True)
    lower.sweep.stop_when.gain_below = 1e-9
    with opened(lower) as session:
        assert len(run_all(session, flat)) > begun
