"""Plots of a stage: its trials and their results. Pure: each function makes a Figure.

Optuna's plots (`optuna.visualization.matplotlib`) are not used. All of them are experimental, and
warn so. They set a global style sheet and leave figures open in pyplot. Their history and parallel
coordinates show complete trials alone, so no pruned ones, and they know neither the default and the
chosen trial nor the rungs.
"""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sweeps.report.data import StageReport, best_so_far, steps_saved, survival
from sweeps.report.style import CHOSEN, DEFAULT, INK, MUTED, PAPER, STATES, blank, legend
from sweeps.trials import TrialSummary

#: With more trials than this, the ends of curves get no trial numbers.
_LABELLED = 12
#: With more steps than this, the axis does not mark each step.
_MARKED = 10


def history(stage: StageReport) -> Figure | None:
    """Objective by trial, with the best so far, the default and the winner marked."""
    if not stage.measured:
        return None
    figure, axes = blank()
    for state, (label, color, marker) in STATES.items():
        trials = [trial for trial in stage.measured if trial.state == state]
        if trials:
            axes.scatter(
                [trial.number for trial in trials], [_value(trial) for trial in trials],
                color=color, marker=marker, s=44, edgecolors=PAPER, linewidths=0.6, zorder=3,
                label=label,
            )  # fmt: skip
    _outline_infeasible(axes, stage)
    if best := best_so_far(stage):
        last = max(trial.number for trial in stage.trials)
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
    """Objective by optimizer step, a line per trial. None if fewer than two steps were measured."""
    if len({step for trial in stage.trials for step in trial.rungs}) < 2:
        return None  # single points form no curve
    figure, axes = blank()
    labelled: set[str] = set()
    for trial in stage.trials:
        steps = [step for step, metrics in trial.rungs.items() if "objective" in metrics]
        if not steps or trial.state not in STATES:
            continue
        label, color, marker = STATES[trial.state]
        axes.plot(
            steps, [trial.rungs[step]["objective"] for step in steps], color=color, marker=marker,
            markersize=4.5, linewidth=1.2, alpha=0.85, label="_" if label in labelled else label,
            zorder=3 if trial.state == "COMPLETE" else 2,
        )  # fmt: skip
        labelled.add(label)
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
    titles = {parameter.name: parameter.title for parameter in stage.parameters}
    ordered = sorted(shares.items(), key=lambda item: item[1])
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
    """Numbers of trials that began, reached each rung, were pruned there, and completed."""
    if not stage.trials or not stage.rungs:
        return None
    points = survival(stage)
    saved, total = steps_saved(stage)
    figure, axes = blank(height=3.1)
    positions = range(len(points))
    went_on, pruned, lost = zip(
        *((rung.went_on, rung.pruned, rung.lost) for rung in points), strict=True
    )
    axes.bar(positions, went_on, color=STATES["COMPLETE"][1], width=0.62, label="went on")
    if any(pruned):
        axes.bar(
            positions, pruned, bottom=went_on, color=STATES["PRUNED"][1], width=0.62,
            label="pruned there", hatch="///", edgecolor=PAPER, linewidth=0,
        )  # fmt: skip
    if any(lost):
        bottoms = [rung.went_on + rung.pruned for rung in points]
        axes.bar(
            positions, lost, bottom=bottoms, color=MUTED, alpha=0.55, width=0.62,
            label="failed or still open",
        )  # fmt: skip
    for position, rung in enumerate(points):
        text = str(rung.reached) + (f", {rung.pruned} pruned" if rung.pruned else "")
        axes.text(position, rung.reached, text, ha="center", va="bottom")
    axes.set_xticks(list(positions), [rung.title for rung in points])
    axes.set_ylim(0, max(rung.reached for rung in points) * 1.13)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("trials")
    if total and saved:
        text = f"{saved} of {total} steps saved by pruning ({saved / total:.0%})"
        axes.set_title(text, loc="right", fontsize=9.5)
    legend(axes)
    return figure


def _objective(stage: StageReport) -> str:
    return f"{stage.objective} ({'lower' if stage.minimised else 'higher'} is better)"


def _best(stage: StageReport) -> str:
    return "chosen" if stage.chosen is not None else "best trial"


def _value(trial: TrialSummary) -> float:
    assert trial.objective is not None
    return trial.objective


def _mark(axes: Axes, stage: StageReport) -> None:
    default = next((trial for trial in stage.measured if trial.number == 0), None)
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
    infeasible = [trial for trial in stage.measured if not trial.feasible]
    if infeasible:
        axes.scatter(
            [trial.number for trial in infeasible], [_value(trial) for trial in infeasible],
            marker="x", s=60, color=INK, linewidths=1.3, zorder=4, label="breaks a constraint",
        )  # fmt: skip


def _label_ends(axes: Axes, stage: StageReport) -> None:
    """Draws trial numbers at the ends of the curves, moved apart where they would overlap."""
    ends: dict[int, list[tuple[float, int]]] = {}
    for trial in _few(stage.measured):
        ends.setdefault(trial.step, []).append((_value(trial), trial.number))
    low, high = axes.get_ylim()
    gap = (high - low) * 0.045
    for step, points in ends.items():
        height = float("-inf")
        for value, number in sorted(points):
            height = max(value, height + gap)
            axes.annotate(
                str(number), (step, height), xytext=(6, 0), textcoords="offset points", va="center",
                fontsize=8, color=INK, annotation_clip=False,
            )  # fmt: skip


def _few(trials: Iterable[TrialSummary]) -> list[TrialSummary]:
    trial_list = list(trials)
    return trial_list if len(trial_list) <= _LABELLED else []
