"""Tables of a report: the leaderboard, and all data as CSV. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from align.evaluation.statistics import Paired, bound_or_none
from align.space.spaces import Value
from sweeps.finalists import Entry
from sweeps.report.data import StageReport, SweepReport, ranks
from sweeps.report.timeline import bars

VALIDATION = "validation"


@dataclass(frozen=True)
class Placed:
    """A system's place: on unseen items (`split` names them), or by its validation objective.

    `low` and `high` are a 95 % interval. `place` is None for parent and base, which are no trials.
    """

    name: str
    number: int | None
    place: int | None
    objective: float
    split: str
    state: str
    feasible: bool
    chosen: bool
    low: float | None = None
    high: float | None = None
    params: Mapping[str, Value] = field(default_factory=dict)
    against_default: Paired | None = None
    against_parent: Paired | None = None
    against_base: Paired | None = None
    items: int | None = None


def leaderboard(stage: StageReport) -> list[Placed]:
    """Systems measured on unseen items, best first; then the other trials, by validation items.

    The two groups are not comparable, so every system of the first precedes the second.
    """
    placed = _on_unseen(stage)
    placed_numbers = {entry.number for entry in placed}
    trials = [entry for entry in placed if entry.number is not None]
    place = len(trials)
    by_rank = ranks(stage)
    others = [trial for trial in stage.measured if trial.number not in placed_numbers]
    for trial in sorted(others, key=lambda trial: by_rank[trial.number]):
        place += 1
        name = "default" if trial.number == 0 else f"trial {trial.number}"
        placed.append(
            Placed(
                name,
                trial.number,
                place,
                trial.objective or 0.0,
                VALIDATION,
                trial.state,
                trial.feasible,
                trial.number == stage.chosen,
                params=trial.params,
            )
        )
    return placed


def _on_unseen(stage: StageReport) -> list[Placed]:
    if stage.standing is None:
        return []
    standing, sign = stage.standing, 1.0 if stage.standing.minimised else -1.0
    trials = {trial.number: trial for trial in stage.trials}

    def order(system: Entry) -> tuple[Any, ...]:
        return (
            system.number != standing.chosen and not system.feasible,
            sign * system.objective,
            system.name,
        )

    placed: list[Placed] = []
    place = 0
    for system in sorted(standing.systems, key=order):
        trial = None if system.number is None else trials.get(system.number)
        place += system.number is not None
        placed.append(
            Placed(
                system.name,
                system.number,
                place if system.number is not None else None,
                system.objective,
                standing.split,
                "" if trial is None else trial.state,
                system.feasible,
                system.number == standing.chosen,
                system.low,
                system.high,
                {} if trial is None else trial.params,
                system.against_default,
                system.against_parent,
                system.against_base,
                system.items or standing.items,
            )
        )
    return placed


def trial_rows(report: SweepReport) -> list[dict[str, Any]]:
    """A row for each trial; a parameter's column is `param:<dotted path>`."""
    return [
        {
            "stage": stage.stage,
            "run": stage.run,
            "trial": trial.number,
            "state": trial.state,
            "origin": trial.origin,
            "chosen": trial.number == stage.chosen,
            "step": trial.step,
            "steps": stage.totals[trial.number],
            "objective": trial.objective,
            "violation": trial.violation,
            "feasible": trial.feasible,
            "seconds": trial.seconds,
            "repeats": trial.again,
            "reason": trial.reason,
            **{f"param:{name}": value for name, value in trial.params.items()},
            **{f"unseen:{name}": value for name, value in trial.unseen.items()},
        }
        for stage in report.stages
        for trial in stage.trials
    ]


def rung_rows(report: SweepReport) -> list[dict[str, Any]]:
    """A row for each measurement on validation items, with every metric."""
    return [
        {"stage": stage.stage, "trial": trial.number, "step": step, **metrics}
        for stage in report.stages
        for trial in stage.trials
        for step, metrics in trial.rungs.items()
    ]


def timeline_rows(report: SweepReport) -> list[dict[str, Any]]:
    """A row for each stretch of work, in the order in which it began; times are UTC."""
    return [
        {
            "stage": bar.stage,
            "trial": bar.number,
            "state": bar.state,
            "milestone": bar.milestone,
            "node": bar.node,
            "worker": bar.worker,
            "began": _time(bar.began),
            "ended": _time(bar.ended),
            "seconds": round(bar.ended - bar.began, 3),
        }
        for bar in bars(report.stages)
    ]


def leaderboard_rows(report: SweepReport) -> list[dict[str, Any]]:
    """A row for each system of each leaderboard."""
    return [
        {
            "stage": stage.stage,
            "place": entry.place,
            "system": entry.name,
            "trial": entry.number,
            "chosen": entry.chosen,
            "split": entry.split,
            "objective": entry.objective,
            "low": entry.low,
            "high": entry.high,
            "feasible": entry.feasible,
            **_flat("default", entry.against_default),
            **_flat("parent", entry.against_parent),
            **_flat("base", entry.against_base),
            "items": entry.items,
            **{f"param:{name}": value for name, value in entry.params.items()},
        }
        for stage in report.stages
        for entry in leaderboard(stage)
    ]


def to_csv(rows: Sequence[Mapping[str, Any]], first: Iterable[str]) -> str:
    """CSV whose columns are `first`, then all others in the order in which they appear.

    Values that a row lacks are empty.
    """
    names = dict.fromkeys([*first, *(name for row in rows for name in row)])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def csvs(report: SweepReport) -> dict[str, str]:
    """All tables of a report as CSV, by file name."""
    return {
        "trials.csv": to_csv(trial_rows(report), ("stage", "run", "trial", "state")),
        "rungs.csv": to_csv(rung_rows(report), ("stage", "trial", "step", "objective")),
        "timeline.csv": to_csv(timeline_rows(report), ("stage", "trial", "milestone")),
        "leaderboard.csv": to_csv(leaderboard_rows(report), ("stage", "place", "system")),
    }


def _flat(name: str, gain: Paired | None) -> dict[str, float | None]:
    bounds = (None, None, None) if gain is None else (gain.difference, gain.low, gain.high)
    keys = ("difference", "low", "high")
    return {
        f"to_{name}:{key}": None if value is None else bound_or_none(value)
        for key, value in zip(keys, bounds, strict=True)
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
