"""Plots of trials: what is drawn of them, and when there is nothing to draw."""

import pytest

from sweeps.report import figures
from sweeps.report.data import Importance
from tests.sweeps.reporting import stage, trial


def labels(figure):
    return figure.axes[0].get_legend_handles_labels()[1]


def test_a_history_has_each_state_that_was_measured_and_the_best_so_far():
    figure = figures.history(stage())
    told = labels(figure)
    assert {"complete", "pruned", "running", "best so far"} <= set(told) and "failed" not in told
    (best,) = (one for one in figure.axes[0].lines if one.get_label() == "best so far")
    assert (list(best.get_xdata()), list(best.get_ydata())) == ([0, 2, 6], [0.5, 0.7, 0.7])
    assert figures.history(stage([])) is None
    assert figures.history(stage([trial(0, "FAIL", {})])) is None


def test_a_curve_needs_two_steps():
    assert figures.curves(stage([trial(0, "PRUNED", {10: 0.3})])) is None
    figure = figures.curves(stage([trial(0, "PRUNED", {10: 0.3, 20: 0.4})]))
    curve = next(one for one in figure.axes[0].lines if one.get_label() == "pruned")
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([10, 20], [0.3, 0.4])


def test_a_state_is_named_once_however_many_curves_it_has():
    told = labels(figures.curves(stage()))
    assert [name for name in told if not name.startswith("trial ")] == [
        "complete", "pruned", "running",
    ]  # fmt: skip
    assert any(name.startswith("trial 2") for name in told)


def test_the_most_important_field_is_on_top():
    shares = {"lora.r": 0.75, "learning_rate": 0.25}
    axes = figures.importances(stage(importance=Importance(shares, ""))).axes[0]
    assert [one.get_text() for one in axes.get_yticklabels()] == ["lr", "rank"]  # from below
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.25, 0.75])
    assert [one.get_text() for one in axes.texts] == ["25%", "75%"]
    assert figures.importances(stage()) is None


def test_rungs_show_how_many_trials_reached_each_point():
    axes = figures.rungs(stage()).axes[0]
    ticks = {one.get_text() for one in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    assert {"begun", "step 10", "step 20", "complete"} <= ticks
    assert figures.rungs(stage([])) is None
