"""The tables of the report's page: stages, leaderboards, effects of fields. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from align.evaluation.result_text import (
    difference_text,
    estimate_text,
    figure_text,
    interval_text,
)
from align.evaluation.statistics import Paired
from sweeps.progress import value_text
from sweeps.report.data import StageReport, SweepReport
from sweeps.report.effects import Effect, effects
from sweeps.report.tables import VALIDATION, Placed, leaderboard


@dataclass(frozen=True)
class Table:
    """Titles and rows of text. `numbers` and `long` are indices of columns, `chosen` of rows."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()
    long: tuple[int, ...] = ()
    chosen: tuple[int, ...] = ()


def effects_table(stage: StageReport) -> Table | None:
    """What each value of the searched fields did; None with too few trials."""
    titles = {parameter.name: parameter.title for parameter in stage.parameters}
    found = effects(stage)
    rows = tuple(
        (
            titles[effect.field],
            effect.value,
            str(effect.trials),
            figure_text(stage.measure, effect.mean),
            _effect_text(stage.measure, effect),
        )
        for effect in found
    )
    columns = ("field", "value", "trials", f"mean {stage.objective}", "against the others")
    return Table(columns, rows, numbers=(2, 3)) if rows else None


def _effect_text(measure: str, effect: Effect) -> str:
    gain = Paired(effect.difference, effect.low, effect.high, effect.trials)
    if not math.isnan(effect.low):
        return difference_text(measure, gain)
    reason = "1 trial" if effect.trials == 1 else "no interval"
    return f"{difference_text(measure, gain).partition(' (')[0]} ({reason})"


def stages_table(report: SweepReport) -> Table:
    """All stages, each with its winner beside default, parent and base."""
    titles = (
        "stage", "state", "version", "trial", "objective", "chosen", "default", "parent", "base",
        "trials", "pruned", "failed", "seconds", "builds on",
    )  # fmt: skip
    rows = tuple(_stage_row(stage) for stage in report.stages)
    return Table(titles, rows, numbers=(3, 9, 10, 11, 12))  # figures with intervals wrap


def _stage_row(stage: StageReport) -> tuple[str, ...]:
    placed = {entry.name: entry for entry in leaderboard(stage)}
    best = stage.best
    winner = next(
        (entry for entry in placed.values() if best and entry.number == best.number), None
    )
    default = next((entry for entry in placed.values() if entry.number == 0), None)
    builds_on = [stage.parent, f"reward model {stage.reward_model}" if stage.reward_model else ""]
    return (
        stage.stage,
        stage.state,
        stage.version or "–",
        "–" if best is None else str(best.number),
        stage.objective,
        *(
            _figure(stage.measure, entry)
            for entry in (winner, default, placed.get("parent"), placed.get("base"))
        ),
        f"{len(stage.trials)} of {max(stage.wanted, len(stage.trials))}",
        str(stage.count("PRUNED")),
        str(stage.count("FAIL")),
        f"{stage.seconds:.0f}",
        ", ".join(filter(None, builds_on)) or "the base",
    )


def _figure(measure: str, entry: Placed | None) -> str:
    if entry is None:
        return "–"
    text = estimate_text(measure, entry.objective, entry.low, entry.high)
    if entry.items is not None:
        text += f" of {entry.items} items"
    return f"{text} {VALIDATION}" if entry.split == VALIDATION else text


def leaderboard_table(stage: StageReport) -> Table | None:
    """The systems of a stage, best first; None if nothing was measured."""
    placed = leaderboard(stage)
    if not placed:
        return None
    titles = (
        "",
        "system",
        stage.objective,
        "95 % interval",
        "items",
        "measured on",
        "to default",
        "to parent",
        "to base",
        *(parameter.title for parameter in stage.parameters),
    )
    rows = tuple(
        (
            "" if entry.place is None else str(entry.place),
            _system(entry),
            figure_text(stage.measure, entry.objective),
            interval_text(stage.measure, entry.low, entry.high),
            "" if entry.items is None else str(entry.items),
            entry.split if entry.split == VALIDATION else f"unseen ({entry.split})",
            *(
                _difference(stage.measure, gain)
                for gain in (entry.against_default, entry.against_parent, entry.against_base)
            ),
            *(value_text(entry.params.get(parameter.name)) for parameter in stage.parameters),
        )
        for entry in placed
    )
    chosen = tuple(index for index, entry in enumerate(placed) if entry.chosen)
    return Table(titles, rows, (0, 2, 4, *range(9, len(titles))), chosen=chosen)


def _system(entry: Placed) -> str:
    suffix = f" (trial {entry.number})" if entry.number == 0 and "trial" not in entry.name else ""
    words = [entry.name + suffix]
    if entry.chosen:
        words.append("chosen")
    if entry.state in ("PRUNED", "RUNNING", "FAIL"):
        words.append({"PRUNED": "pruned", "RUNNING": "running", "FAIL": "failed"}[entry.state])
    if not entry.feasible:
        words.append("breaks a constraint")
    return ", ".join(words)


def _difference(measure: str, gain: Paired | None) -> str:
    return "" if gain is None else difference_text(measure, gain)
