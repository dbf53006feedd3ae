"""Plots look the same whatever the user has set, and leave that as it was."""

import matplotlib
import pytest

from sweeps.report.style import blank, legend, style


def test_settings_hold_inside_alone():
    with matplotlib.rc_context({"font.size": 20.0, "lines.linewidth": 7.0}):
        with style():
            assert matplotlib.rcParams["font.size"] == 9.5
            assert matplotlib.rcParams["lines.linewidth"] == 1.5  # matplotlib's own, not the user's
        assert matplotlib.rcParams["font.size"] == 20.0
        with pytest.raises(RuntimeError), style():
            raise RuntimeError
        assert matplotlib.rcParams["lines.linewidth"] == 7.0


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (7, 7), (8, 4), (15, 5)])
def test_a_legend_has_lines_of_about_equal_length(count, columns):
    _, axes = blank()
    for number in range(count):
        axes.plot([0], [0], label=str(number))
    legend(axes)
    assert axes.get_legend()._ncols == columns


def test_without_names_there_is_no_legend():
    _, axes = blank()
    axes.plot([0], [0])
    legend(axes)
    assert axes.get_legend() is None
