"""The time that searches still need, worked out by hand."""

import pytest

from sweeps.progress.time_left import pace, seconds_left, work_left
from sweeps.trials import TrialSummary
from tests.sweeps.progress_events import STARTED  # three trials of 40 steps, two at a time


def trial(number, state, step, seconds):
    return TrialSummary(number, state, {}, 0.5, step, seconds=seconds)


DONE = trial(0, "COMPLETE", 40, 80.0)
HALF = trial(1, "RUNNING", 20, 40.0)


def test_a_step_takes_the_mean_of_all_steps_so_far():
    assert pace([DONE, trial(1, "PRUNED", 10, 70.0)]) == 3.0
    assert pace([]) is None
    assert pace([trial(0, "RUNNING", 0, 0.0)]) is None


def test_open_trials_and_those_that_have_not_begun_are_left():
    assert work_left(STARTED, [DONE, HALF]) == [40.0, 80.0]  # 2 s a step
    assert work_left(STARTED, [DONE, HALF], totals={1: 30}) == [20.0, 80.0]
    assert work_left(STARTED, [DONE, HALF], totals={1: 10}) == [0.0, 80.0]  # never below none
    assert work_left(STARTED, [DONE, trial(1, "PRUNED", 20, 40.0)]) == [80.0]
    assert work_left(STARTED, []) is None


@pytest.mark.parametrize(
    ("slots", "seconds"), [(None, 80.0), (1, 120.0), (2, 80.0), (64, 80.0), (0, 120.0)]
)
def test_the_longest_trial_bounds_what_many_workers_save(slots, seconds):
    assert seconds_left(STARTED, [DONE, HALF], slots=slots) == seconds


def test_once_all_have_ended_nothing_is_left():
    ended = [DONE, trial(1, "FAIL", 20, 40.0), trial(2, "PRUNED", 20, 40.0)]
    assert seconds_left(STARTED, ended) == 0.0
