"""A view of the sweeps of a run, built from events alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import RLock

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from align.progress_lines import clock_time
from sweeps.events import (
    Event,
    FinalistMeasured,
    MilestoneReported,
    PoolChanged,
    SearchStopped,
    StageFinished,
    StageStarted,
    TrialFinished,
    TrialPaused,
    TrialRetried,
    TrialStarted,
    WorkerWarned,
)
from sweeps.progress.formatting import objective_text, pool_text, standing_text
from sweeps.progress.stage import StageView
from sweeps.progress.table import trials_table
from sweeps.progress.time_left import pace
from sweeps.results.baseline import beside_default

#: The most trials of a stage that are listed; lines of the table's header and of the count below.
_MOST, _AROUND = 16, 2


class SweepView:
    """The open stages, the finished stages and the pool; a Rich renderable of the open stages.

    `planned` has the optimizer steps of all trials together by stage, so that stages which have
    not begun are counted in the time left. `clock` gives seconds. Rendering reads only this object
    and the clock; another thread may do it.
    """

    def __init__(
        self,
        planned: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._planned, self._clock, self._lock = dict(planned or {}), clock, RLock()
        self._stages: dict[str, StageView] = {}
        self._pool: PoolChanged | None = None
        self._began = clock()

    @property
    def open(self) -> list[StageView]:
        """The stages that are being searched."""
        return [stage for stage in self._stages.values() if stage.finished is None]

    def stage(self, name: str) -> StageView | None:
        """A stage that has begun under this view; None for other stages."""
        return self._stages.get(name)

    def update(self, event: Event) -> None:
        """Update the view with an event."""
        with self._lock:
            if isinstance(event, PoolChanged):
                self._pool = event
            elif isinstance(event, StageStarted):
                self._stages[event.stage] = StageView(event, self._clock())
            else:
                self._update(event)

    def _update(
        self,
        event: TrialStarted
        | MilestoneReported
        | TrialPaused
        | TrialRetried
        | TrialFinished
        | WorkerWarned
        | SearchStopped
        | FinalistMeasured
        | StageFinished,
    ) -> None:
        if isinstance(event, StageFinished):
            self._planned.pop(event.stage, None)
        if (stage := self._stages.get(event.stage)) is None:
            return
        match event:
            case TrialStarted():
                stage.trial_started(event)
            case MilestoneReported():
                stage.measured(event)
            case TrialPaused():
                stage.trial_paused(event)
            case TrialRetried():
                stage.trial_retried(event)
            case TrialFinished():
                stage.trial_finished(event)
            case WorkerWarned():
                stage.warned(event)
            case SearchStopped():
                stage.search_stopped(event)
            case FinalistMeasured():
                stage.finalist_measured(event)
            case StageFinished():
                stage.finish(event)

    @property
    def left(self) -> float | None:
        """An estimate of the seconds needed in all; None before anything was measured.

        The work of the open stages, and of the planned stages at the mean pace of the stages that
        have begun, shared by the pool; no less than the longest open trial takes alone.
        """
        with self._lock:
            works = [work for stage in self.open if (work := stage.work()) is not None]
            mean = pace([trial for stage in self._stages.values() for trial in stage.trials])
            if not works or mean is None:
                return None
            later = sum(self._planned[name] for name in self._later) * mean
            work = [seconds for stage_work in works for seconds in stage_work]
            if not work and not later:
                return None  # only finalists are left, whose time is not known
            return max((sum(work) + later) / self._slots, max(work, default=0.0))

    def state(self) -> str:
        """What runs, the steps done and the time left, in a line; empty between two stages."""
        with self._lock:
            if not self._stages:
                return f"preparing, {clock_time(self._clock() - self._began)} so far"
            texts = [stage.state() for stage in self.open]
            if texts and (left := self.left) is not None:
                texts.append(f"about {clock_time(left)} left" + (" in all" if self._later else ""))
            return "; ".join(texts)

    def render(self, width: int, height: int) -> RenderableType:
        """The open stages in `width` cells and `height` lines; empty if no stage is open."""
        with self._lock:
            if not self.open:
                return Text("")
            foot = self._foot()
            room = (height - _lines([foot], width)) // len(self.open)
            return Group(*(self._stage(stage, width, room) for stage in self.open), foot)

    def render_finished(self, stage: str, width: int) -> RenderableType:
        """The lines of a finished stage: its headline and its result."""
        with self._lock:
            stage_view = self._stages[stage]
            return Group(*_wrapped([self._headline(stage_view), *_figures(stage_view)], width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # A line less than the terminal has, since the cursor stands below.
        yield self.render(options.max_width, console.size.height - 1)

    @property
    def _later(self) -> list[str]:
        """Planned stages that have not begun."""
        return [name for name in self._planned if name not in self._stages]

    @property
    def _slots(self) -> int:
        if self._pool is not None:
            return max(1, self._pool.slots)
        return max([1, *(stage.started.concurrent for stage in self.open)])

    def _stage(self, stage: StageView, width: int, room: int) -> RenderableType:
        head = _wrapped([self._headline(stage), *_figures(stage)], width)
        rows = min(_MOST, room - len(head) - _AROUND)
        if rows < 1 or not stage.trials:
            return Group(*head[: max(1, room)])
        return Group(*head, trials_table(stage, width, rows))

    def _headline(self, stage: StageView) -> Text:
        started, elapsed = stage.started, stage.elapsed(self._clock())
        text = Text.assemble((started.line, "bold"), f"  run {started.run}")
        text.append(f"  {stage.ended}/{started.trials} trials  {clock_time(elapsed)}")
        if started.budget_seconds:
            text.append(f" of {clock_time(started.budget_seconds)}")
        left = stage.left(None if self._pool is None else self._pool.slots)
        if left is not None:
            text.append(f"  about {clock_time(left)} left")
        return text

    def _foot(self) -> Text:
        """The pool, and the time left in all."""
        running = sum(stage.running for stage in self.open)
        text = (
            "pool: " + (f"{pool_text(self._pool)}, " if self._pool else "") + f"{running} running"
        )
        if (left := self.left) is not None:
            text += f"\nabout {clock_time(left)} left in all"
            if self._later:
                text += f", with {', '.join(self._later)}"
        return Text(text, style="dim")


def _figures(stage: StageView) -> list[Text]:
    """The lines above a stage's trials: the best, what it is compared with, what happened."""
    if stage.finished is not None:
        return [_result(stage, stage.finished)]
    lines = [_best(stage), *(Text(note, style="dim") for note in stage.started.notes)]
    lines += [Text(remark, style="yellow") for remark in stage.remarks]
    if (coming := stage.next_trial) is not None and not stage.measures_finalists:
        lines.insert(1, Text(coming.text()))
    if (against := _against(stage)) is not None:
        lines.insert(0, against)
    if stage.retried:
        numbers = ", ".join(map(str, sorted(stage.retried)))
        total = sum(stage.retried.values())
        times = "once" if total == 1 else f"{total} times"
        which = "trial" if len(stage.retried) == 1 else "trials"
        text = f"{which} {numbers} went on {times} after a worker ended"
        lines.append(Text(text, style="yellow"))
    if stage.measures_finalists:
        objectives = [f"{name} {objective_text(value)}" for name, value in stage.unseen.items()]
        text = f"measuring finalists, {stage.finalists}, on unseen items: "
        lines.append(Text(text + (", ".join(objectives) or "–"), style="cyan"))
    return lines


def _against(stage: StageView) -> Text | None:
    default = stage.default
    objectives = {
        "default": default.objective if default and default.state == "COMPLETE" else None,
        "parent": stage.beside("parent"),
        "base": stage.beside("base"),
    }
    texts = [f"{name} {value:.4g}" for name, value in objectives.items() if value is not None]
    return Text(", ".join(texts)) if texts else None


def _best(stage: StageView) -> Text:
    if (best := stage.best) is not None:
        text = f"best so far: trial {best.number}, {stage.started.objective} {best.objective:.4g}"
        return Text(text, style="green")
    if any(trial.state == "COMPLETE" for trial in stage.trials):
        return Text("no complete trial keeps to the constraints", style="yellow")
    return Text("no trial is complete yet", style="dim")


def _result(stage: StageView, finished: StageFinished) -> Text:
    best, name = finished.best, stage.started.objective
    text = (
        f"best, now {finished.name}: trial {best.number}, {name} {objective_text(best.objective)}; "
        f"{beside_default(finished.trials, best, finished.gain)}"
    )
    if finished.unseen is not None:
        text += f"; {standing_text(finished.unseen)}"
    return Text(text, style="green")


def _wrapped(texts: list[Text], width: int) -> list[Text]:
    """The lines that the texts take in `width` cells."""
    console = Console(width=width)
    return [line for text in texts for line in text.wrap(console, width)]


def _lines(texts: list[Text], width: int) -> int:
    return len(_wrapped(texts, width))
