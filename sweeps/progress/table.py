"""A table of a stage's trials, with the rows and columns that fit the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeps.progress.formatting import objective_text, short, value_text
from sweeps.progress.stage import StageView
from sweeps.trials import TrialSummary, ranked

_STATES = {
    "COMPLETE": "green",
    "PRUNED": "yellow",
    "FAIL": "red",
    "RUNNING": "cyan",
    "WAITING": "dim",
}
#: Fields whose columns come first.
_FIRST = ("learning_rate", "lora.r", "beta")
#: Complete trials that are always shown where not all are.
_BEST = 3
_GAP, _WIDEST = 2, 18


@dataclass(frozen=True)
class Column:
    """A column. On a narrow terminal the columns of the highest `priority` are left out first."""

    title: str
    priority: int
    cell: Callable[[TrialSummary], Text]
    right: bool = False

    def width(self, trials: Sequence[TrialSummary]) -> int:
        """Terminal cells that the column needs."""
        return max([Text(self.title).cell_len, *(self.cell(trial).cell_len for trial in trials)])


def trials_table(stage: StageView, width: int, rows: int) -> RenderableType:
    """At most `rows` trials in `width` terminal cells, and a line that counts the other trials."""
    shown = shown_trials(stage, rows)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    columns = fitting(_columns(stage), shown, width)
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for trial in shown:
        table.add_row(*(column.cell(trial) for column in columns))
    numbers = {trial.number for trial in shown}
    counts = Counter(trial.state for trial in stage.trials if trial.number not in numbers)
    if not counts:
        return table
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    return Group(table, Text(f"not shown: {states}", style="dim"))


def shown_trials(stage: StageView, rows: int) -> list[TrialSummary]:
    """All trials if they fit, else the best, the running and the newest trials; by number."""
    trials = stage.trials
    if len(trials) <= rows:
        return trials
    running = [trial for trial in trials if trial.state == "RUNNING"]
    best = ranked(trials, stage.started.minimised)[:_BEST]
    chosen = {trial.number: trial for trial in (*best, *running, *reversed(trials))}
    return sorted(list(chosen.values())[:rows], key=lambda trial: trial.number)


def fitting(columns: Sequence[Column], trials: Sequence[TrialSummary], width: int) -> list[Column]:
    """The columns that fit into `width`, in their order."""
    room, chosen = width, list[Column]()
    for column in sorted(columns, key=lambda column: column.priority):
        room -= column.width(trials) + _GAP
        if room < 0:
            break
        chosen.append(column)
    return [column for column in columns if column in chosen]


def _columns(stage: StageView) -> list[Column]:
    trials = stage.trials
    searched = list(dict.fromkeys(name for trial in trials for name in trial.params))
    searched.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    columns = [
        Column("trial", 0, lambda trial: _number(stage, trial)),
        Column("state", 1, lambda trial: Text(trial.state, style=_STATES.get(trial.state, ""))),
        Column("step", 2, lambda trial: Text(f"{trial.step}/{stage.total(trial.number)}")),
        Column(
            stage.started.objective, 3, lambda trial: Text(objective_text(trial.objective)), True
        ),
    ]
    if stage.started.rung_metric and any("rung" in trial.metrics for trial in trials):
        columns.insert(3, Column(stage.started.rung_metric, 3, _rung, True))
    if any(stage.to_default(trial) is not None for trial in trials):
        columns.append(
            Column("to default", 9, lambda trial: _signed(stage.to_default(trial)), True)
        )
    if any(trial.violation is not None for trial in trials):
        columns.append(Column("violation", 4, _violation, right=True))
    for index, name in enumerate(searched):
        # The difference to the default can be derived from other cells; a trial's lr cannot.
        columns.append(
            Column(short(name), 5 + index if name in _FIRST else 10 + index, _field(name))
        )
    last = 10 + len(searched)
    return [*columns, Column("seconds", last, lambda trial: Text(f"{trial.seconds:.0f}"), True)]


def _number(stage: StageView, trial: TrialSummary) -> Text:
    best = stage.best
    if best is not None and trial.number == best.number:
        return Text(f"{trial.number}*", style="bold green")
    return Text(str(trial.number))


def _rung(trial: TrialSummary) -> Text:
    return Text(objective_text(trial.metrics.get("rung")))


def _signed(value: float | None) -> Text:
    return Text("" if value is None else f"{value:+.3g}")


def _violation(trial: TrialSummary) -> Text:
    text = _signed(trial.violation)
    text.style = "" if trial.feasible else "red"
    return text


def _field(name: str) -> Callable[[TrialSummary], Text]:
    def cell(trial: TrialSummary) -> Text:
        text = Text(value_text(trial.params.get(name)))
        text.truncate(_WIDEST, overflow="ellipsis")
        return text

    return cell
