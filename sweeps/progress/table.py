"""A stage's trials as a table that fits: which rows and which columns are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeps.progress.formatting import objective_text, short, value_text
from sweeps.progress.stage import StageView
from sweeps.study.trials import TrialSummary, ranked

_STATES = {
    "COMPLETE": "green",
    "PRUNED": "yellow",
    "FAIL": "red",
    "RUNNING": "cyan",
    "WAITING": "dim",
}
#: Fields that a person looks for first.
_FIRST = ("learning_rate", "lora.r", "beta")
#: Complete trials that are always shown where not all are.
_BEST = 3
_GAP, _WIDEST = 2, 18


@dataclass(frozen=True)
class Column:
    """A column; those of a lower `priority` stay longer where the terminal is narrow."""

    title: str
    priority: int
    cell: Callable[[TrialSummary], Text]
    right: bool = False

    def width(self, trials: Sequence[TrialSummary]) -> int:
        """Terminal cells that it needs."""
        return max([Text(self.title).cell_len, *(self.cell(one).cell_len for one in trials)])


def trials_table(stage: StageView, width: int, rows: int) -> RenderableType:
    """At most `rows` trials in `width` terminal cells, and a line that counts the others."""
    shown = shown_trials(stage, rows)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    columns = fitting(_columns(stage), shown, width)
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for one in shown:
        table.add_row(*(column.cell(one) for column in columns))
    numbers = {one.number for one in shown}
    counts = Counter(one.state for one in stage.trials if one.number not in numbers)
    if not counts:
        return table
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    return Group(table, Text(f"not shown: {states}", style="dim"))


def shown_trials(stage: StageView, rows: int) -> list[TrialSummary]:
    """All trials if they fit, else the best few, those that run, and the newest; by number."""
    trials = stage.trials
    if len(trials) <= rows:
        return trials
    running = [one for one in trials if one.state == "RUNNING"]
    best = ranked(trials, stage.started.minimised)[:_BEST]
    chosen = {one.number: one for one in (*best, *running, *reversed(trials))}
    return sorted(list(chosen.values())[:rows], key=lambda one: one.number)


def fitting(columns: Sequence[Column], trials: Sequence[TrialSummary], width: int) -> list[Column]:
    """The columns that fit into `width`, in their order."""
    room, chosen = width, list[Column]()
    for one in sorted(columns, key=lambda column: column.priority):
        room -= one.width(trials) + _GAP
        if room < 0:
            break
        chosen.append(one)
    return [one for one in columns if one in chosen]


def _columns(stage: StageView) -> list[Column]:
    trials = stage.trials
    searched = list(dict.fromkeys(name for one in trials for name in one.params))
    searched.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    columns = [
        Column("trial", 0, lambda one: _number(stage, one)),
        Column("state", 1, lambda one: Text(one.state, style=_STATES.get(one.state, ""))),
        Column("step", 2, lambda one: Text(f"{one.step}/{stage.total(one.number)}")),
        Column(stage.started.objective, 3, lambda one: Text(objective_text(one.objective)), True),
    ]
    if any(stage.to_default(one) is not None for one in trials):
        columns.append(Column("to default", 9, lambda one: _signed(stage.to_default(one)), True))
    if any(one.violation is not None for one in trials):
        columns.append(Column("violation", 4, _violation, right=True))
    for at, name in enumerate(searched):
        # What the difference to the default says can be worked out; what lr a trial has cannot.
        columns.append(Column(short(name), 5 + at if name in _FIRST else 10 + at, _field(name)))
    last = 10 + len(searched)
    return [*columns, Column("seconds", last, lambda one: Text(f"{one.seconds:.0f}"), True)]


def _number(stage: StageView, one: TrialSummary) -> Text:
    best = stage.best
    if best is not None and one.number == best.number:
        return Text(f"{one.number}*", style="bold green")
    return Text(str(one.number))


def _signed(value: float | None) -> Text:
    return Text("" if value is None else f"{value:+.3g}")


def _violation(one: TrialSummary) -> Text:
    text = _signed(one.violation)
    text.style = "" if one.feasible else "red"
    return text


def _field(name: str) -> Callable[[TrialSummary], Text]:
    def cell(one: TrialSummary) -> Text:
        text = Text(value_text(one.params.get(name)))
        text.truncate(_WIDEST, overflow="ellipsis")
        return text

    return cell
