"""Trials that wait for each other at rungs, and what is decided when all have arrived."""

import math

import pytest

from cluster.database import open_database
from sweeps.study.rung_decisions import bracket_size
from sweeps.study.study_session import StudySession
from sweeps.trials import Milestone
from tests.sweeps.driving import STEPS, stage_with

STUDY = "toy/sft/1-abc"
ITEMS = 40


def stage_of(**sweep):
    return stage_with(**{"pruner": "paired", "pruner_options": {"at_least": 1}, **sweep})


@pytest.fixture
def opened(settings):
    sessions = []

    def open_(**sweep):
        for session in sessions:
            session.close()
        session = StudySession(settings, open_database(settings), STUDY, stage_of(**sweep))
        sessions.append(session)
        return session

    yield open_
    for session in sessions:
        session.close()


def at(index, nll, **metrics):
    """A milestone whose items scatter around `nll`; the objective comes at the end alone."""
    if STEPS[index] == STEPS[-1]:
        return Milestone(STEPS[index], STEPS[-1], index, {"objective": -nll, **metrics})
    values = {str(item): nll + item % 5 for item in range(ITEMS)}
    return Milestone(STEPS[index], STEPS[-1], index, {"rung": nll + 2, **metrics}, values=values)


def numbers(session):
    asked = []
    while (assignment := session.ask()) is not None:
        asked.append(assignment.number)
    return asked


def states(session):
    return [trial.state for trial in session.trials()]


def test_with_one_place_all_trials_reach_the_first_rung_before_any_passes_it(opened):
    session, order = opened(trials=4), []
    for nll in (1.0, 2.0, 0.5, 3.0):
        assert session.decide_rung() == []
        assignment = session.ask()
        order.append((assignment.number, assignment.decided))
        assert not session.report(assignment.number, at(0, nll))
        assert session.paused(assignment.number)
    assert order == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert session.ask() is None and not session.finished
    assert session.decide_rung() == [1, 3]  # trial 0 is never pruned
    assert states(session) == ["RUNNING", "PRUNED", "RUNNING", "PRUNED"]
    best = session.ask()
    assert (best.number, best.decided) == (2, STEPS[0])  # the best goes on first
    assert not session.report(2, at(1, 0.4))
    assert session.decide_rung() == []  # trial 0 has not reached the second rung
    assert session.ask().number == 0
    assert not session.report(0, at(1, 0.9))
    assert session.decide_rung() == []
    for number in numbers(session):
        assert not session.report(number, at(2, 0.1 * number))
    assert session.finished
    assert states(session) == ["COMPLETE", "PRUNED", "COMPLETE", "PRUNED"]


def test_a_trial_that_fails_or_is_lost_holds_nobody_up_for_ever(opened):
    session = opened(trials=3)
    assert numbers(session) == [0, 1, 2]
    session.report(0, at(0, 1.0))
    session.report(2, at(0, 1.1))
    assert session.decide_rung() == []
    session.release(1)  # its worker was lost
    assert session.decide_rung() == [] and session.ask().number == 1
    session.fail(1, "loss is NaN")
    assert session.decide_rung() == [2]
    assert session.ask().number == 0


def test_another_driver_decides_what_was_waiting(opened):
    session = opened(trials=3)
    assert numbers(session) == [0, 1, 2]
    session.report(0, at(0, 1.0))
    session.report(1, at(0, 2.0))
    session = opened(trials=3)
    assert numbers(session) == [2]  # the others wait
    session.report(2, at(0, 0.5))
    session = opened(trials=3)
    assert session.decide_rung() == [1]
    assert sorted(numbers(session)) == [0, 2]


def test_a_decision_of_which_a_part_was_stored_is_completed(opened, monkeypatch):
    session = opened(trials=4)
    for number, nll in zip(numbers(session), (1.0, 2.0, 0.5, 3.0), strict=True):
        session.report(number, at(0, nll))
    judged = []
    judge = StudySession._judge

    def killed(self, trial, milestone):
        if len(judged) == 2:
            raise KeyboardInterrupt
        judged.append(trial.number)
        return judge(self, trial, milestone)

    with monkeypatch.context() as patch:
        patch.setattr(StudySession, "_judge", killed)
        with pytest.raises(KeyboardInterrupt):
            session.decide_rung()
    session = opened(trials=4)
    assert judged == [0, 1] and session.decide_rung() == [3]
    assert states(session) == ["RUNNING", "PRUNED", "RUNNING", "PRUNED"]


def test_a_trial_whose_end_was_stored_only_in_part_is_completed(opened, monkeypatch):
    session = opened(trials=2)

    def killed(self, *arguments):
        raise KeyboardInterrupt

    for index in (0, 1):
        for number in numbers(session):
            session.report(number, at(index, 1.0))
        session.decide_rung()
    assert numbers(session) == [0, 1]
    with monkeypatch.context() as patch:
        patch.setattr(StudySession, "_tell", killed)
        with pytest.raises(KeyboardInterrupt):
            session.report(1, at(2, 1.0))  # the metrics are stored, the state is not
    session = opened(trials=2)
    assert session.decide_rung() == [] and not session.paused(1)
    for number in numbers(session):
        session.report(number, at(2, 1.0))
    assert session.finished and states(session) == ["COMPLETE", "COMPLETE"]


def test_more_trials_of_a_finished_search_are_compared_with_those_of_before(opened):
    session = opened(trials=2)
    for index in range(3):
        session.decide_rung()
        for number in numbers(session):
            session.report(number, at(index, 1.0))
    assert session.finished
    session = opened(trials=4)
    for number, nll in zip(numbers(session), (5.0, 0.2), strict=True):
        session.report(number, at(0, nll))
    assert session.decide_rung() == [2]
    assert states(session) == ["COMPLETE", "COMPLETE", "PRUNED", "RUNNING"]


def test_an_asynchronous_bracket_decides_as_trials_arrive(opened):
    session = opened(trials=3, bracket="asynchronous")
    assert numbers(session) == [0, 1, 2]
    assert session.report(1, at(0, 1.0))  # alone at the rung
    assert not session.report(2, at(0, 2.0)) and not session.paused(2)
    assert session.report(0, at(0, 3.0))
    assert session.report(1, at(1, 1.0))
    assert states(session) == ["RUNNING", "RUNNING", "PRUNED"]


def test_values_and_decisions_are_stored_in_the_trial(opened, settings):
    session = opened(trials=2)
    for number in numbers(session):
        session.report(number, at(0, 1.0 + 9 * number))
    session.decide_rung()
    trial = session.trials()[1]
    assert (trial.state, trial.objective, trial.rungs[STEPS[0]]["rung"]) == ("PRUNED", None, 12.0)
    assert session.ask().number == 0
    assert not session.report(0, Milestone(STEPS[1], STEPS[-1], 1, {"rung": math.nan}))
    assert session.trials()[0].reason == f"the rung metric is nan at step {STEPS[1]}"


def test_only_the_first_trials_of_a_learning_sampler_wait():
    assert bracket_size(stage_of(trials=6, sampler="tpe"), 6) == 6
    assert bracket_size(stage_of(trials=30, sampler="tpe"), 30) == 10
    assert bracket_size(stage_of(trials=8, sampler="tpe"), 9) == 9  # with a repeated trial
    assert bracket_size(stage_of(trials=30, sampler="random"), 30) == 30
    assert bracket_size(stage_of(trials=20, stop_when={"gain_below": 0.01}), 20) == 6
    assert bracket_size(stage_of(trials=6, bracket="asynchronous"), 6) == 0
    assert bracket_size(stage_of(trials=6, rungs=[]), 6) == 0
    assert bracket_size(stage_with(trials=6), 6) == 0
