"""A sweep as it is seen: a live table on a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from align.recipe.space import Value
from sweeps.default import beside_default
from sweeps.events import (
    Event,
    MilestoneReported,
    StageFinished,
    StageStarted,
    TrialFinished,
    TrialStarted,
)
from sweeps.study.trials import TrialSummary, best_of

_STATES = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red", "RUNNING": "cyan"}


class SweepView:
    """What is known of the stage that is being searched, and how it looks.

    `clock` gives seconds. Rendering reads nothing but this object and the clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = 0.0
        self._stage: StageStarted | None = None
        self._finished: StageFinished | None = None
        self._trials: dict[int, TrialSummary] = {}

    def update(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, StageStarted):
            self._stage, self._finished, self._since = event, None, self._clock()
            self._trials = {trial.number: trial for trial in event.earlier}
        elif isinstance(event, TrialStarted):
            fresh = TrialSummary(event.number, "RUNNING", event.params, None, event.step)
            self._trials.setdefault(event.number, fresh)
        elif isinstance(event, MilestoneReported):
            self._measured(event)
        elif isinstance(event, TrialFinished):
            self._trials[event.trial.number] = event.trial
        else:
            self._finished = event
            self._trials = {trial.number: trial for trial in event.trials}

    def render(self) -> RenderableType:
        """The table of trials with a line about the whole above it and the best below."""
        if self._stage is None:
            return Text("")
        return Group(self._headline(), self._table(), self._best())

    @property
    def elapsed(self) -> float:
        """Seconds of this stage over all attempts."""
        if self._finished is not None:
            return self._finished.seconds
        before = self._stage.seconds_before if self._stage else 0.0
        return before + self._clock() - self._since

    @property
    def left(self) -> float | None:
        """An estimate of the seconds still needed; None before anything was measured."""
        if self._stage is None:
            return None
        return seconds_left(self._stage, list(self._trials.values()))

    def _measured(self, event: MilestoneReported) -> None:
        trial, milestone = self._trials.get(event.number), event.milestone
        if trial is None or milestone.step in trial.rungs:
            return
        self._trials[event.number] = replace(
            trial,
            step=milestone.step,
            objective=milestone.metrics.get("objective"),
            metrics=milestone.metrics,
            rungs={**trial.rungs, milestone.step: milestone.metrics},
            seconds=trial.seconds + milestone.metrics.get("seconds", 0.0),
        )

    def _headline(self) -> Text:
        stage = self._stage
        assert stage is not None  # render() has looked
        text = Text.assemble((stage.line, "bold"), f"  run {stage.run}")
        ended = sum(trial.state != "RUNNING" for trial in self._trials.values())
        text.append(f"  {ended}/{stage.trials} trials  {clock_time(self.elapsed)}")
        if stage.budget_seconds:
            text.append(f" of {clock_time(stage.budget_seconds)}")
        if self._finished is None and self.left is not None:
            text.append(f"  about {clock_time(self.left)} left")
        return text

    def _table(self) -> Table:
        stage = self._stage
        assert stage is not None
        names = list(dict.fromkeys(name for one in self._trials.values() for name in one.params))
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("trial", "state", "step", *(short(name) for name in names)):
            table.add_column(name)
        table.add_column(stage.objective, justify="right")
        table.add_column("seconds", justify="right")
        for one in sorted(self._trials.values(), key=lambda trial: trial.number):
            table.add_row(
                str(one.number),
                Text(one.state, style=_STATES.get(one.state, "")),
                f"{one.step}/{stage.steps}",
                *(value_text(one.params.get(name)) for name in names),
                objective_text(one.objective),
                f"{one.seconds:.0f}",
            )
        return table

    def _best(self) -> Text:
        stage = self._stage
        assert stage is not None
        best = best_of(self._trials.values(), stage.minimised)
        if best is None:
            return Text("no trial is complete yet", style="dim")
        text = f"best so far: trial {best.number}, {stage.objective} {best.objective:.4g}"
        if self._finished is not None:
            text = text.replace("best so far", f"best, now {self._finished.name}")
            text += f"; {beside_default(self._finished.trials, best, self._finished.gain)}"
        return Text(text, style="green")


class Progress:
    """Shows events: `with Progress() as progress: run_pipeline(…, on_event=progress)`."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._view = SweepView()
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def __call__(self, event: Event) -> None:
        """Take in an event and show it."""
        self._view.update(event)
        if not self._console.is_terminal:
            self._console.print(line(event), highlight=False, markup=False, soft_wrap=True)
        elif isinstance(event, StageStarted):
            self._stop()
            self._live = Live(
                console=self._console, get_renderable=self._view.render, refresh_per_second=2
            )
            self._live.start()
        elif isinstance(event, StageFinished):
            self._stop()
            if event.reused:
                self._console.print(line(event), highlight=False, markup=False, soft_wrap=True)

    def _stop(self) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def line(event: Event) -> str:
    """An event in one plain line."""
    if isinstance(event, StageStarted):
        went = f", {len(event.earlier)} begun earlier" if event.earlier else ""
        return (
            f"{event.line} run {event.run}: {event.trials} trials of {event.steps} steps, "
            f"{event.concurrent} at a time{went}"
        )
    if isinstance(event, TrialStarted):
        params = ", ".join(f"{short(name)} {value_text(v)}" for name, v in event.params.items())
        again = f" goes on after step {event.step}" if event.step else ""
        return f"{event.stage} trial {event.number}{again}: {params or 'defaults'}"
    if isinstance(event, MilestoneReported):
        one = event.milestone
        return (
            f"{event.stage} trial {event.number}: step {one.step}/{one.total}, "
            f"objective {objective_text(one.objective)}, {one.metrics.get('seconds', 0.0):.1f} s"
        )
    if isinstance(event, TrialFinished):
        reason = f": {event.trial.reason}" if event.trial.reason else ""
        return f"{event.stage} trial {event.trial.number}: {event.trial.state}{reason}"
    budget = f" of {event.budget_seconds:.0f} s" if event.budget_seconds else ""
    return (
        f"{event.name}: trial {event.best.number}, objective "
        f"{objective_text(event.best.objective)}, "
        f"{beside_default(event.trials, event.best, event.gain)}, {event.seconds:.0f} s{budget}"
        + (" (searched before; --fresh searches anew)" if event.reused else "")
    )


def seconds_left(stage: StageStarted, trials: list[TrialSummary]) -> float | None:
    """Steps not yet taken, at the mean seconds of those taken, shared by the concurrent trials.

    Counts no pruning that has not happened, so it is an upper estimate.
    """
    taken = sum(trial.step for trial in trials)
    if taken == 0:
        return None
    open_steps = sum(stage.steps - one.step for one in trials if one.state == "RUNNING")
    open_steps += max(0, stage.trials - len(trials)) * stage.steps
    return open_steps * sum(trial.seconds for trial in trials) / taken / stage.concurrent


def clock_time(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def short(name: str) -> str:
    """A column's title for a dotted field."""
    return {"lora.r": "rank", "learning_rate": "lr"}.get(name, name.removeprefix("lora."))


def value_text(value: Value | None) -> str:
    """A parameter in a few characters."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def objective_text(value: float | None) -> str:
    """An objective, or a dash where there is none."""
    return "–" if value is None else f"{value:.4g}"
