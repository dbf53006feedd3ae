"""Which trials and which columns a table has where not all fit."""

from dataclasses import replace

import pytest
from rich.text import Text

from sweeps.progress.stage import StageView
from sweeps.progress.table import Column, fitting, shown_trials
from sweeps.trials import TrialSummary
from tests.sweeps.progress_events import STARTED


def stage(*states, **started):
    """Trials of these states; the objective of trial n is n / 10."""
    trials = [
        TrialSummary(number, state, {}, number / 10, 40) for number, state in enumerate(states)
    ]
    return StageView(replace(STARTED, earlier=tuple(trials), **started), 0.0)


def numbers(view, rows):
    return [trial.number for trial in shown_trials(view, rows)]


def test_all_are_shown_where_they_fit():
    assert numbers(stage(*["PRUNED"] * 4), 4) == [0, 1, 2, 3]


def test_the_best_three_then_the_newest():
    view = stage(*["COMPLETE"] * 6, *["PRUNED"] * 4)
    assert numbers(view, 5) == [3, 4, 5, 8, 9]
    assert numbers(view, 2) == [4, 5]
    lowest = stage(*["COMPLETE"] * 6, *["PRUNED"] * 4, minimised=True)
    assert numbers(lowest, 5) == [0, 1, 2, 8, 9]


def column(title, priority):
    return Column(title, priority, lambda trial: Text(str(trial.number)))


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (100, ["trial", "lr", "step"]),
        (17, ["trial", "lr", "step"]),  # 5, 2 and 4 cells with gaps of 2
        (16, ["trial", "step"]),
        (12, ["trial"]),
        (6, []),
    ],
)
def test_what_matters_least_is_left_out_and_the_order_stays(width, titles):
    columns = [column("trial", 0), column("lr", 5), column("step", 2)]
    trials = stage("COMPLETE").trials
    assert [one.title for one in fitting(columns, trials, width)] == titles


def test_a_column_is_as_wide_as_its_widest_cell():
    trials = [TrialSummary(1234567, "RUNNING", {}, None, 0)]
    assert column("trial", 0).width(trials) == 7
    assert column("trial", 0).width([]) == 5
