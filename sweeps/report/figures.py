"""Plots of a stage: what was tried, and what came of it. Pure: each makes a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sweeps.report.data import StageReport, best_so_far, steps_saved, survival
from sweeps.report.style import CHOSEN, DEFAULT, INK, MUTED, PAPER, STATES, blank, legend
from sweeps.study.trials import TrialSummary

#: Most trials whose curves are labelled one by one.
_LABELLED = 12
#: Most steps that all stand at the axis.
_MARKED = 10


def history(stage: StageReport) -> Figure | None:
    """Objective by trial, the best so far, the default and the winner marked."""
    if not stage.measured:
        return None
    figure, axes = blank()
    for state, (words, color, marker) in STATES.items():
        found = [one for one in stage.measured if one.state == state]
        if found:
            axes.scatter(
                [one.number for one in found], [_value(one) for one in found], color=color,
                marker=marker, s=44, edgecolors=PAPER, linewidths=0.6, zorder=3, label=words,
            )  # fmt: skip
    _outline_infeasible(axes, stage)
    if best := best_so_far(stage):
        last = max(one.number for one in stage.trials)
        numbers, values = zip(*best, strict=True)
        axes.step(
            [*numbers, last], [*values, values[-1]], where="post", color=INK, linewidth=1.3,
            label="best so far",
        )  # fmt: skip
    _mark(axes, stage)
    axes.set_xlabel("trial")
    axes.set_ylabel(_objective(stage))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(y=0.14)
    legend(axes)
    return figure


def curves(stage: StageReport) -> Figure | None:
    """Objective by optimizer step, a line for each trial; None where all have one step at most."""
    if len({step for one in stage.trials for step in one.rungs}) < 2:
        return None  # points above each other are no curves
    figure, axes = blank()
    told: set[str] = set()
    for one in stage.trials:
        steps = [step for step, metrics in one.rungs.items() if "objective" in metrics]
        if not steps or one.state not in STATES:
            continue
        words, color, marker = STATES[one.state]
        axes.plot(
            steps, [one.rungs[step]["objective"] for step in steps], color=color, marker=marker,
            markersize=4.5, linewidth=1.2, alpha=0.85, label="_" if words in told else words,
            zorder=3 if one.state == "COMPLETE" else 2,
        )  # fmt: skip
        told.add(words)
    if (best := stage.best) is not None and best.rungs:
        steps = [step for step, metrics in best.rungs.items() if "objective" in metrics]
        axes.plot(
            steps, [best.rungs[step]["objective"] for step in steps], color=CHOSEN, linewidth=3.2,
            alpha=0.5, zorder=1.5, solid_capstyle="round",
            label=f"trial {best.number}, {_best(stage)}",
        )  # fmt: skip
    for rung in stage.rungs:
        axes.axvline(rung, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    _label_ends(axes, stage)
    axes.set_xlabel("optimizer step (dotted: rungs)" if stage.rungs else "optimizer step")
    axes.set_ylabel(_objective(stage))
    marks = sorted({*stage.rungs, *stage.totals.values()})
    if len(marks) <= _MARKED:
        axes.set_xticks(marks)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.06)
    legend(axes)
    return figure


def importances(stage: StageReport) -> Figure | None:
    """A bar for each searched field, the most important on top."""
    shares = stage.importance.shares
    if not shares:
        return None
    titles = {one.name: one.title for one in stage.parameters}
    ordered = sorted(shares.items(), key=lambda one: one[1])
    figure, axes = blank(height=0.95 + 0.36 * len(ordered))
    axes.barh(
        [titles.get(name, name) for name, _ in ordered], [share for _, share in ordered],
        color=STATES["COMPLETE"][1], height=0.62,
    )  # fmt: skip
    for row, (_, share) in enumerate(ordered):
        axes.text(share + 0.012, row, f"{share:.0%}", va="center")
    axes.set_xlim(0, max(shares.values()) * 1.12 + 0.02)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("importance")
    return figure


def rungs(stage: StageReport) -> Figure | None:
    """How many trials began, were measured at each rung and stopped there, and came to the end."""
    if not stage.trials or not stage.rungs:
        return None
    found = survival(stage)
    saved, whole = steps_saved(stage)
    figure, axes = blank(height=3.1)
    place = range(len(found))
    on, pruned, lost = zip(*((one.went_on, one.pruned, one.lost) for one in found), strict=True)
    axes.bar(place, on, color=STATES["COMPLETE"][1], width=0.62, label="went on")
    if any(pruned):
        axes.bar(
            place, pruned, bottom=on, color=STATES["PRUNED"][1], width=0.62, label="pruned there",
            hatch="///", edgecolor=PAPER, linewidth=0,
        )  # fmt: skip
    if any(lost):
        below = [one.went_on + one.pruned for one in found]
        axes.bar(
            place, lost, bottom=below, color=MUTED, alpha=0.55, width=0.62,
            label="failed or still open",
        )  # fmt: skip
    for at, one in enumerate(found):
        text = str(one.reached) + (f", {one.pruned} pruned" if one.pruned else "")
        axes.text(at, one.reached, text, ha="center", va="bottom")
    axes.set_xticks(list(place), [one.title for one in found])
    axes.set_ylim(0, max(one.reached for one in found) * 1.13)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("trials")
    if whole and saved:
        text = f"{saved} of {whole} steps saved by pruning ({saved / whole:.0%})"
        axes.set_title(text, loc="right", fontsize=9.5)
    legend(axes)
    return figure


def _objective(stage: StageReport) -> str:
    return f"{stage.objective} ({'lower' if stage.minimised else 'higher'} is better)"


def _best(stage: StageReport) -> str:
    return "chosen" if stage.chosen is not None else "best trial"


def _value(one: TrialSummary) -> float:
    assert one.objective is not None
    return one.objective


def _mark(axes: Axes, stage: StageReport) -> None:
    default = next((one for one in stage.measured if one.number == 0), None)
    if default is not None:
        axes.scatter(
            [0], [_value(default)], s=150, facecolors="none", edgecolors=DEFAULT, linewidths=1.6,
            zorder=4, label="default",
        )  # fmt: skip
        axes.axhline(_value(default), color=DEFAULT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    best = stage.best
    if best is not None and best.objective is not None:
        axes.scatter(
            [best.number], [best.objective], s=190, marker="*", color=CHOSEN, edgecolors=PAPER,
            linewidths=0.7, zorder=5, label=_best(stage),
        )  # fmt: skip


def _outline_infeasible(axes: Axes, stage: StageReport) -> None:
    found = [one for one in stage.measured if not one.feasible]
    if found:
        axes.scatter(
            [one.number for one in found], [_value(one) for one in found], marker="x", s=60,
            color=INK, linewidths=1.3, zorder=4, label="breaks a constraint",
        )  # fmt: skip


def _label_ends(axes: Axes, stage: StageReport) -> None:
    """Numbers at the ends of the curves, moved apart where they would lie on each other."""
    ends: dict[int, list[tuple[float, int]]] = {}
    for one in _few(stage.measured):
        ends.setdefault(one.step, []).append((_value(one), one.number))
    low, high = axes.get_ylim()
    gap = (high - low) * 0.045
    for step, found in ends.items():
        at = float("-inf")
        for value, number in sorted(found):
            at = max(value, at + gap)
            axes.annotate(
                str(number), (step, at), xytext=(6, 0), textcoords="offset points", va="center",
                fontsize=8, color=INK, annotation_clip=False,
            )  # fmt: skip


def _few(trials: Iterable[TrialSummary]) -> list[TrialSummary]:
    found = list(trials)
    return found if len(found) <= _LABELLED else []
