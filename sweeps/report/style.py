"""Style of the plots: a palette safe for colour-blind readers, and matplotlib's settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

#: Colours of text and axes, of secondary lines and labels, of the grid, and of the background. The
#: page replaces them in dark mode.
INK, MUTED, GRID, PAPER = "#1b1f24", "#6b7280", "#d5d9df", "#fffffe"

#: Label, colour (from Okabe and Ito's palette) and marker of each state of a trial.
STATES = {
    "COMPLETE": ("complete", "#0072b2", "o"),
    "PRUNED": ("pruned", "#e69f00", "s"),
    "RUNNING": ("running", "#56b4e9", "^"),
    "FAIL": ("failed", "#d55e00", "X"),
}
UNSEEN, CHOSEN, DEFAULT = "#cc79a7", "#009e73", "#b0609a"
#: Viridis: even in lightness. Its ends are cut, being hard to see on black and on white.
SCALE = ListedColormap(colormaps["viridis"](np.linspace(0.1, 0.92, 256)), "alignery")

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "figure.dpi": 100,
    "savefig.facecolor": "none",
    "svg.fonttype": "path",  # the same on machines without the font
    "svg.hashsalt": "alignery",
    "path.simplify": True,
}


#: Most entries in a line of a legend.
_IN_A_LINE = 7


@contextmanager
def style() -> Iterator[None]:
    """Applies these settings while plots are made and written, then restores the user's."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams  # its stubs list every name
        settings.update(_SETTINGS)
        yield


def blank(width: float = 8.4, height: float = 3.6) -> tuple[Figure, Axes]:
    """An empty plot of a figure without pyplot; `width` and `height` are in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def legend(axes: Axes) -> None:
    """Draws the legend above the plot, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        lines = -(-len(handles) // _IN_A_LINE)
        columns = -(-len(handles) // lines)
        axes.legend(
            handles, labels, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns,
            borderaxespad=0.2, columnspacing=1.4, handletextpad=0.5,
        )  # fmt: skip
