"""Plots of a search space: where the trials lie in it. Pure: each makes a matplotlib Figure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from align.space.spaces import Value, same
from sweeps.progress import value_text
from sweeps.report.data import Parameter, StageReport
from sweeps.report.style import CHOSEN, INK, MUTED, PAPER, SCALE, blank
from sweeps.study.trials import TrialSummary

#: Most trials that are numbered in a plot.
_FEW = 14
#: Fields that are shown in pairs where both are searched.
_PAIRS = (("learning_rate", "lora.r"), ("learning_rate", "beta"))


class _Colors:
    """A colour for each objective between the lowest and the highest."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low, self.high = min(values), max(values)
        if self.low == self.high:  # one colour, and an axis that has a middle
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)

    def of(self, value: float) -> tuple[float, float, float, float]:
        """Its colour, as red, green, blue and alpha."""
        return SCALE(self.place(value))

    def mappable(self) -> ScalarMappable:
        """What a colour bar is made of."""
        return ScalarMappable(Normalize(self.low, self.high), SCALE)


def parallel(stage: StageReport) -> Figure | None:
    """A line for each trial through its parameters to its objective, coloured by the latter."""
    trials = [one for one in stage.measured if one.params]
    if not trials or not stage.parameters:
        return None
    figure, axes = blank(height=3.9)
    colors = _Colors([one.objective or 0.0 for one in trials])
    last = len(stage.parameters)
    for one in sorted(trials, key=lambda one: (one is stage.best, one.state == "COMPLETE")):
        points = [
            (at, place(parameter, one.params[parameter.name]))
            for at, parameter in enumerate(stage.parameters)
            if parameter.name in one.params
        ]
        points.append((last, colors.place(one.objective or 0.0)))
        best = one is stage.best
        axes.plot(
            *zip(*points, strict=True), color=colors.of(one.objective or 0.0),
            linewidth=3.0 if best else 1.3, alpha=1.0 if one.state == "COMPLETE" else 0.55,
            linestyle="-" if one.state == "COMPLETE" else (0, (3, 2)), marker="o", markersize=3.5,
        )  # fmt: skip
    for at, parameter in enumerate(stage.parameters):
        _axis(axes, at, ticks(parameter))
    middle = (colors.low + colors.high) / 2
    marks = (colors.low, middle, colors.high)
    _axis(axes, last, [(colors.place(one), f"{one:.3g}") for one in marks])
    titles = [_lines(one) for one in (*(p.title for p in stage.parameters), stage.objective)]
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
    """Two fields against each other, coloured by the objective; by a name for the file."""
    known = {one.name: one for one in stage.parameters}
    return [
        (f"{known[x].title}-{known[y].title}", _pair(stage, known[x], known[y]))
        for x, y in _PAIRS
        if x in known and y in known and any({x, y} <= set(one.params) for one in stage.measured)
    ]


def place(parameter: Parameter, value: Value) -> float:
    """Where a value lies between the ends of its space, from 0 to 1."""
    if parameter.choices:
        index = next(
            (at for at, one in enumerate(parameter.choices) if same(one, value)),
            0,
        )
        return 0.5 if len(parameter.choices) == 1 else index / (len(parameter.choices) - 1)
    low, high, at = parameter.space.low, parameter.space.high, float(value)
    if parameter.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return 0.5 if low == high else (at - low) / (high - low)


def ticks(parameter: Parameter) -> list[tuple[float, str]]:
    """Places of a parameter's axis and what stands there: choices, decades, or ends and middle."""
    if parameter.choices:
        values: Sequence[Value] = parameter.choices
    elif parameter.log:
        low, high = parameter.space.low, parameter.space.high
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        between = [10.0**power for power in range(first, last + 1)]
        ends = [one for one in (low, high) if all(abs(math.log10(one / x)) > 0.2 for x in between)]
        values = sorted([*between, *ends])
    else:
        low, high = parameter.space.low, parameter.space.high
        values = [low, (low + high) / 2, high] if parameter.space.kind != "int" else [low, high]
    return [(place(parameter, one), _text(one)) for one in values]


def _pair(stage: StageReport, x: Parameter, y: Parameter) -> Figure:
    figure, axes = blank(height=4.0)
    trials = [one for one in stage.measured if x.name in one.params and y.name in one.params]
    few = len(trials) <= _FEW
    at = _at if few else _spread
    colors = _Colors([one.objective or 0.0 for one in trials])
    for state, marker, words in (
        ("COMPLETE", "o", "complete"),
        ("", "s", "stopped before its end"),
    ):
        found = [one for one in trials if (one.state == "COMPLETE") == bool(state)]
        if not found:
            continue
        axes.scatter(
            [at(x, one) for one in found], [at(y, one) for one in found], marker=marker,
            c=[colors.of(one.objective or 0.0) for one in found], s=90 if state else 55,
            edgecolors=MUTED, linewidths=0.7, zorder=3, label=words,
        )  # fmt: skip
    if stage.best in trials and stage.best is not None:
        axes.scatter(
            [at(x, stage.best)], [at(y, stage.best)], s=230, facecolors="none",
            edgecolors=CHOSEN, linewidths=2.0, zorder=4,
            label="chosen" if stage.chosen is not None else "best trial",
        )  # fmt: skip
    for one in trials if few else [one for one in trials if one is stage.best]:
        axes.annotate(
            str(one.number), (at(x, one), at(y, one)), xytext=(0, 9),
            textcoords="offset points", ha="center", fontsize=7.5, color=INK,
        )  # fmt: skip
    _scale(axes, x, "x")
    _scale(axes, y, "y")
    bar = figure.colorbar(colors.mappable(), ax=axes, pad=0.02, label=stage.objective)
    bar.outline.set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2)
    return figure


def _spread(parameter: Parameter, one: TrialSummary) -> float:
    """Where a trial is drawn among many: beside others of the same choice, not on top of them."""
    if not parameter.choices:
        return _at(parameter, one)
    golden = (one.number * 0.618034) % 1 - 0.5
    return _at(parameter, one) + golden * 0.3 / len(parameter.choices)


def _at(parameter: Parameter, one: TrialSummary) -> float:
    return place(parameter, one.params[parameter.name])


def _lines(title: str) -> str:
    """A field's name on lines short enough to stand beside others."""
    return "\n".join(textwrap.wrap(title.replace("_", "_ "), 14)).replace("_ ", "_")


def _scale(axes: Axes, parameter: Parameter, side: str) -> None:
    """Names the places of the axis; all axes run from 0 to 1, so a choice lies evenly too."""
    axis = axes.xaxis if side == "x" else axes.yaxis
    places, names = zip(*ticks(parameter), strict=True)
    axis.set_ticks(places, names)
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(parameter.title + (" (log)" if parameter.log else ""))
    (axes.set_xlim if side == "x" else axes.set_ylim)(-0.07, 1.12)


def _axis(axes: Axes, at: int, marks: Sequence[tuple[float, str]]) -> None:
    axes.plot([at, at], [0, 1], color=MUTED, linewidth=0.9, zorder=1)
    for height, text in marks:
        axes.annotate(
            text, (at, height), xytext=(6, 0), textcoords="offset points", va="center",
            fontsize=8.5, color=INK, zorder=6,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
        )  # fmt: skip


def _text(value: Value) -> str:
    text = value_text(float(value)) if isinstance(value, float) else str(value)
    return text if len(text) <= 18 else f"{text[:17]}…"
