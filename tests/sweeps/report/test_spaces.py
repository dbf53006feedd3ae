"""Plots of a search space: what is drawn, and where."""

import pytest

from sweeps.report.spaces import pairs, parallel, ticks
from tests.sweeps.reporting import stage, trial

RATE_ALONE = {"lora": {"r": 8}}


def parameter(title, **fields):
    return next(one for one in stage(**fields).parameters if one.title == title)


def test_choices_are_evenly_spaced_and_a_logarithm_has_its_decades():
    assert [label for _, label in ticks(parameter("rank"))] == ["4", "8", "16"]
    places = [place for place, _ in ticks(parameter("rank"))]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1]) and places == sorted(
        places
    )
    found = ticks(parameter("lr"))
    assert [label for _, label in found] == ["1e-05", "0.0001", "0.001", "0.01", "0.1"]
    assert [place for place, _ in found] == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_a_long_choice_is_cut():
    searched = {"optim": {"choice": ["adamw_torch", "schedule_free_radam"]}}
    labels = [label for _, label in ticks(parameter("optim", searched=searched))]
    assert labels == ["adamw_torch", "schedule_free_rad…"]


def test_two_fields_are_plotted_where_both_are_searched_and_measured():
    ((name, figure),) = pairs(stage())
    assert name == "lr-rank"
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr (log)", "rank")
    assert {text.get_text() for text in axes.texts} == {"0", "1", "2", "4", "5", "6"}
    assert pairs(stage(searched=RATE_ALONE)) == []
    assert pairs(stage([trial(0, "FAIL", {})])) == []


def test_a_line_for_each_trial_that_was_measured():
    figure = parallel(stage())
    trials = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(trials) == 6
    widest = max(trials, key=lambda line: line.get_linewidth())
    assert list(widest.get_xdata()) == [0, 1, 2]  # two fields and the objective
    assert widest.get_ydata()[-1] == pytest.approx((0.7 - 0.2) / (0.9 - 0.2))  # trial 2
    assert parallel(stage([])) is None
