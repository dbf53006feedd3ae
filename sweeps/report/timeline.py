"""Timeline of the pool: which worker measured what and when, and how much time was idle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sweeps.report.data import StageReport
from sweeps.report.style import GRID, MUTED, PAPER, STATES, UNSEEN, blank

#: Height of a lane in inches, and the most lanes that get names.
_LANE, _NAMED = 0.34, 40
#: First characters of a node's name that are shown: Ray's names are long, these are enough.
_NAME = 8
#: A bar narrower than this share of the plot has no room for a number.
_ROOM = 0.022


@dataclass(frozen=True)
class Bar:
    """A stretch of work on a trial: `began` and `ended` in seconds since the epoch.

    `state` is the trial's. `milestone` is the optimizer step that the work led to, or `unseen`.
    """

    stage: str
    number: int
    state: str
    milestone: str
    node: str
    worker: str
    began: float
    ended: float


@dataclass(frozen=True)
class Lane:
    """A place in the pool: successive workers of a node, with their bars in order.

    A worker is a process. The worker that replaces it takes over its place.
    """

    node: str
    workers: tuple[str, ...]
    bars: tuple[Bar, ...]


def bars(stages: Sequence[StageReport]) -> list[Bar]:
    """All work that is recorded in the studies, in the order in which it began."""
    work = [
        Bar(
            stage.stage, trial.number, trial.state, milestone, str(run.get("node", "")),
            str(run.get("worker", "")), float(run["began"]), float(run["ended"]),
        )
        for stage in stages
        for trial in stage.trials
        for milestone, run in trial.ran.items()
    ]  # fmt: skip
    return sorted(work, key=lambda bar: (bar.began, bar.ended, bar.stage, bar.number))


def lanes(found: Sequence[Bar]) -> list[Lane]:
    """The pool's lanes by node. A worker that begins after another's last work takes its lane."""
    by_worker: dict[tuple[str, str], list[Bar]] = {}
    for bar in found:
        by_worker.setdefault((bar.node, bar.worker), []).append(bar)
    places: dict[str, list[list[Bar]]] = {}
    for (node, _), work in by_worker.items():
        rows = places.setdefault(node, [])
        free = [row for row in rows if row[-1].ended <= work[0].began]
        if free:
            max(free, key=lambda row: row[-1].ended).extend(work)
        else:
            rows.append(list(work))
    return [
        Lane(node, tuple(dict.fromkeys(bar.worker for bar in row)), tuple(row))
        for node, rows in sorted(places.items())
        for row in rows
    ]


def idle_share(
    pool: Sequence[Lane], since: float | None = None, until: float | None = None
) -> float:
    """Share of the lanes' time in which nothing ran, from 0 to 1.

    A lane counts from its first work to the end of all work, within `since` and `until`.
    """
    ends = [bar.ended for lane in pool for bar in lane.bars]
    end = max(ends, default=0.0) if until is None else until
    available = busy = 0.0
    for lane in pool:
        start = lane.bars[0].began if since is None else max(lane.bars[0].began, since)
        if start >= end:
            continue
        available += end - start
        busy += _covered(lane.bars, start, end)
    return max(0.0, 1 - busy / available) if available > 0 else 0.0


def _covered(work: Sequence[Bar], start: float, end: float) -> float:
    covered, reached = 0.0, start
    for bar in sorted(work, key=lambda bar: bar.began):
        low, high = max(bar.began, reached), min(bar.ended, end)
        if high > low:
            covered, reached = covered + high - low, high
    return covered


def window(found: Sequence[Bar], stage: str) -> tuple[float, float] | None:
    """When a stage began and ended, in seconds since the epoch; None if nothing was measured."""
    own = [bar for bar in found if bar.stage == stage]
    if not own:
        return None
    return min(bar.began for bar in own), max(bar.ended for bar in own)


def timeline(found: Sequence[Bar], stage: str, title: str = "") -> Figure | None:
    """The lanes while a stage ran: its bars coloured by state, other stages' bars grey."""
    span = window(found, stage)
    if span is None:
        return None
    start, end = span
    overlapping = [bar for bar in found if bar.ended > start and bar.began < end]
    pool = lanes(overlapping)
    figure, axes = blank(height=1.15 + _LANE * len(pool))
    length = max(end - start, 1e-3)
    unit, name = _unit(length)
    for row, lane in enumerate(pool):
        for bar in lane.bars:
            low, high = max(bar.began, start), min(bar.ended, end)
            own = bar.stage == stage
            axes.barh(
                row, (high - low) / unit, left=(low - start) / unit, height=0.72,
                color=_color(bar) if own else GRID, edgecolor=PAPER, linewidth=0.6,
            )  # fmt: skip
            if own and (high - low) / length > _ROOM * max(1.0, len(str(bar.number)) / 1.5):
                axes.text(
                    ((low + high) / 2 - start) / unit, row, str(bar.number), color=_text_color(bar),
                    ha="center", va="center", fontsize=8, fontweight="bold",
                )  # fmt: skip
    _dress(axes, pool, name, start, length / unit)
    _key(axes, [bar for bar in overlapping if bar.stage == stage], len(overlapping))
    if title:
        axes.set_title(title)
    return figure


def _dress(axes: Axes, pool: Sequence[Lane], unit: str, start: float, length: float) -> None:
    axes.set_ylim(len(pool) - 0.4, -0.6)
    axes.set_xlim(0, length * 1.002)
    axes.grid(axis="y", visible=False)
    axes.set_yticks(
        range(len(pool)), [_lane_name(lane) for lane in pool] if len(pool) <= _NAMED else []
    )
    began = datetime.fromtimestamp(start, UTC)
    axes.set_xlabel(f"{unit} since {began:%Y-%m-%d %H:%M:%S} UTC")


def _key(axes: Axes, own: Sequence[Bar], total: int) -> None:
    kinds = {"unseen" if bar.milestone == "unseen" else bar.state for bar in own}
    handles = [
        Patch(color=color, label=label)
        for state, (label, color, _) in STATES.items()
        if state in kinds
    ]
    if "unseen" in kinds:
        handles.append(Patch(color=UNSEEN, label="finalist on unseen items"))
    if total > len(own):
        handles.append(Patch(color=GRID, label="other stages"))
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(handles),
        borderaxespad=0.2, columnspacing=1.4, handlelength=1.0,
    )  # fmt: skip


def _lane_name(lane: Lane) -> str:
    node = lane.node[:_NAME]
    more = f" +{len(lane.workers) - 1}" if len(lane.workers) > 1 else ""
    return f"{node} · {lane.workers[0]}{more}"


def _color(bar: Bar) -> str:
    if bar.milestone == "unseen":
        return UNSEEN
    return STATES[bar.state][1] if bar.state in STATES else MUTED


def _text_color(bar: Bar) -> str:
    """Black or white, whichever can be read on the bar in light and dark mode alike."""
    dark = bar.milestone != "unseen" and bar.state in ("COMPLETE", "FAIL")
    return "#ffffff" if dark else "#000000"


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")
