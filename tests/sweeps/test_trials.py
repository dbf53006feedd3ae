"""What is read from a study of a trial, and which trial is best."""

import math

import optuna
import pytest

from sweeps.trials import Milestone, TrialSummary, best_of, is_own, ranked, summarise

EARLY = {"objective": 0.3, "seconds": 4.0}
LATE = {"objective": 0.5, "seconds": 6.5, "violation": 0.2}


def frozen(**attrs):
    return optuna.create_trial(
        state=optuna.trial.TrialState.COMPLETE, value=0.5, params={}, user_attrs=attrs
    )


def trial(number, objective, state="COMPLETE", feasible=True):
    return TrialSummary(number, state, {}, objective, 30, feasible=feasible)


def test_a_summary_is_of_the_newest_milestone():
    ran = {"began": 1.0, "ended": 5.0, "node": "a", "worker": "1"}
    # Not in order: 100 comes before 20 as text.
    told = frozen(**{"rung:100": LATE, "rung:20": EARLY, "ran:20": ran, "reason": "x", "again": 3})
    summary = summarise(told)
    assert (summary.step, summary.objective, summary.metrics) == (100, 0.5, LATE)
    assert list(summary.rungs.items()) == [(20, EARLY), (100, LATE)]
    assert summary.seconds == 10.5
    assert (summary.violation, summary.feasible) == (0.2, False)
    assert (summary.ran, summary.reason, summary.again) == ({"20": ran}, "x", 3)


def test_of_a_trial_that_measured_nothing_there_is_no_objective():
    summary = summarise(frozen())
    assert (summary.objective, summary.step, summary.rungs, summary.seconds) == (None, 0, {}, 0)
    assert summary.feasible and summary.violation is None


def test_what_was_measured_on_unseen_items_is_beside_the_trial():
    ran = {"node": "b"}
    summary = summarise(frozen(), {"metrics": {"objective": 0.4}, "ran": ran})
    assert summary.unseen == {"objective": 0.4} and summary.ran == {"unseen": ran}
    assert summary.objective is None


def test_a_trial_of_an_earlier_study_is_not_the_sweeps_own():
    assert is_own(frozen())
    assert not is_own(frozen(**{"from": "toy/sft/1-abc"}))


@pytest.mark.parametrize(("minimised", "order"), [(False, [2, 0, 3]), (True, [0, 3, 2])])
def test_complete_and_feasible_trials_are_ranked_and_of_equals_the_earlier_is_first(
    minimised, order
):
    trials = [
        trial(3, 0.5),
        trial(0, 0.5),
        trial(1, 0.9, state="PRUNED"),
        trial(2, 0.7),
        trial(4, 0.99, feasible=False),
        trial(5, None),
    ]
    assert [one.number for one in ranked(trials, minimised)] == order
    assert best_of(trials, minimised).number == order[0]
    assert best_of(trials[2:3], minimised) is None


def test_the_last_milestone_is_at_the_last_step():
    assert not Milestone(20, 30, 1, {"objective": 0.5}).last
    assert Milestone(30, 30, 2, {"objective": 0.5}).last
    assert math.isnan(Milestone(30, 30, 2, {}).objective)
