"""Plots of a search space and the trials in it. Pure: plots are matplotlib Figures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from align.space.spaces import Value
from sweeps.progress import value_text
from sweeps.report.data import Parameter, StageReport
from sweeps.report.style import CHOSEN, INK, MUTED, PAPER, SCALE, blank
from sweeps.trials import TrialSummary

#: With more trials than this, a plot numbers only the best.
_FEW = 14
#: Pairs of fields that are plotted if both are searched.
_PAIRS = (("learning_rate", "lora.r"), ("learning_rate", "beta"))


class _Colors:
    """Maps objectives, from the lowest to the highest, to colours."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low, self.high = min(values), max(values)
        if self.low == self.high:  # a single colour, in the middle of the axis
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def place(self, value: float) -> float:
        """Position of a value between the lowest and the highest, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)

    def of(self, value: float) -> tuple[float, float, float, float]:
        """Colour of a value as red, green, blue and alpha, each from 0 to 1."""
        return SCALE(self.place(value))

    def mappable(self) -> ScalarMappable:
        """The values and colours of a colour bar."""
        return ScalarMappable(Normalize(self.low, self.high), SCALE)


def parallel(stage: StageReport) -> Figure | None:
    """A line for each trial through its parameters to its objective, coloured by the latter."""
    trials = [trial for trial in stage.measured if trial.params]
    if not trials or not stage.parameters:
        return None
    figure, axes = blank(height=3.9)
    colors = _Colors([trial.objective or 0.0 for trial in trials])
    last = len(stage.parameters)
    for trial in sorted(trials, key=lambda trial: (trial is stage.best, trial.state == "COMPLETE")):
        points = [
            (index, parameter.space.place(trial.params[parameter.name]))
            for index, parameter in enumerate(stage.parameters)
            if parameter.name in trial.params
        ]
        points.append((last, colors.place(trial.objective or 0.0)))
        is_best = trial is stage.best
        axes.plot(
            *zip(*points, strict=True), color=colors.of(trial.objective or 0.0),
            linewidth=3.0 if is_best else 1.3, alpha=1.0 if trial.state == "COMPLETE" else 0.55,
            linestyle="-" if trial.state == "COMPLETE" else (0, (3, 2)), marker="o", markersize=3.5,
        )  # fmt: skip
    for index, parameter in enumerate(stage.parameters):
        _axis(axes, index, ticks(parameter))
    middle = (colors.low + colors.high) / 2
    marks = (colors.low, middle, colors.high)
    _axis(axes, last, [(colors.place(value), f"{value:.3g}") for value in marks])
    titles = [_lines(title) for title in (*(p.title for p in stage.parameters), stage.objective)]
    axes.set_xticks(range(last + 1), titles, fontweight="bold")
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.06)
    axes.set_xlim(-0.25, last + 0.35)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", length=0, pad=8)
    return figure


def pairs(stage: StageReport) -> list[tuple[str, Figure]]:
    """Plots of two fields against each other, coloured by objective; each with a file name."""
    searched = {parameter.name: parameter for parameter in stage.parameters}
    return [
        (f"{searched[x].title}-{searched[y].title}", _pair(stage, searched[x], searched[y]))
        for x, y in _PAIRS
        if x in searched
        and y in searched
        and any({x, y} <= set(trial.params) for trial in stage.measured)
    ]


def ticks(parameter: Parameter) -> list[tuple[float, str]]:
    """Positions and labels of a parameter's ticks: choices, decades, or ends and middle."""
    space = parameter.space
    return [(space.place(value), _text(value)) for value in space.marks()]


def _pair(stage: StageReport, x: Parameter, y: Parameter) -> Figure:
    figure, axes = blank(height=4.0)
    trials = [
        trial for trial in stage.measured if x.name in trial.params and y.name in trial.params
    ]
    few = len(trials) <= _FEW
    coordinate = _at if few else _spread
    colors = _Colors([trial.objective or 0.0 for trial in trials])
    for state, marker, label in (
        ("COMPLETE", "o", "complete"),
        ("", "s", "stopped before its end"),
    ):
        shown = [trial for trial in trials if (trial.state == "COMPLETE") == bool(state)]
        if not shown:
            continue
        axes.scatter(
            [coordinate(x, trial) for trial in shown], [coordinate(y, trial) for trial in shown],
            marker=marker, c=[colors.of(trial.objective or 0.0) for trial in shown],
            s=90 if state else 55, edgecolors=MUTED, linewidths=0.7, zorder=3, label=label,
        )  # fmt: skip
    if stage.best in trials and stage.best is not None:
        axes.scatter(
            [coordinate(x, stage.best)], [coordinate(y, stage.best)], s=230, facecolors="none",
            edgecolors=CHOSEN, linewidths=2.0, zorder=4,
            label="chosen" if stage.chosen is not None else "best trial",
        )  # fmt: skip
    for trial in trials if few else [trial for trial in trials if trial is stage.best]:
        axes.annotate(
            str(trial.number), (coordinate(x, trial), coordinate(y, trial)), xytext=(0, 9),
            textcoords="offset points", ha="center", fontsize=7.5, color=INK,
        )  # fmt: skip
    _scale(axes, x, "x")
    _scale(axes, y, "y")
    bar = figure.colorbar(colors.mappable(), ax=axes, pad=0.02, label=stage.objective)
    bar.outline.set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2)
    return figure


def _spread(parameter: Parameter, trial: TrialSummary) -> float:
    """Position of a trial among many; trials of equal choice are spread by the golden ratio."""
    if not parameter.choices:
        return _at(parameter, trial)
    offset = (trial.number * 0.618034) % 1 - 0.5
    return _at(parameter, trial) + offset * 0.3 / len(parameter.choices)


def _at(parameter: Parameter, trial: TrialSummary) -> float:
    return parameter.space.place(trial.params[parameter.name])


def _lines(title: str) -> str:
    """A field's name, wrapped so that it fits beside other names."""
    return "\n".join(textwrap.wrap(title.replace("_", "_ "), 14)).replace("_ ", "_")


def _scale(axes: Axes, parameter: Parameter, side: str) -> None:
    """Sets ticks and title of an axis. Axes run from 0 to 1, so choices are evenly spaced."""
    axis = axes.xaxis if side == "x" else axes.yaxis
    places, names = zip(*ticks(parameter), strict=True)
    axis.set_ticks(places, names)
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(parameter.title + (" (log)" if parameter.log else ""))
    (axes.set_xlim if side == "x" else axes.set_ylim)(-0.07, 1.12)


def _axis(axes: Axes, x: int, marks: Sequence[tuple[float, str]]) -> None:
    axes.plot([x, x], [0, 1], color=MUTED, linewidth=0.9, zorder=1)
    for height, text in marks:
        axes.annotate(
            text, (x, height), xytext=(6, 0), textcoords="offset points", va="center",
            fontsize=8.5, color=INK, zorder=6,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
        )  # fmt: skip


def _text(value: Value) -> str:
    text = value_text(float(value)) if isinstance(value, float) else str(value)
    return text if len(text) <= 18 else f"{text[:17]}…"
