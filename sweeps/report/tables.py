"""What a report tells in rows: the leaderboard, and all of it as CSV. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from align.space.spaces import Value
from sweeps.report.data import StageReport, SweepReport, ranks
from sweeps.report.timeline import bars
from sweeps.results.finalists import Entry, FinalistDifference

VALIDATION = "validation"


@dataclass(frozen=True)
class Placed:
    """One system's place: on unseen items (`split` names them), or by its validation figure.

    `low` and `high` are a 95 % interval. `place` is None for what is no trial: parent and base.
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
    against_default: FinalistDifference | None = None
    against_parent: FinalistDifference | None = None


def leaderboard(stage: StageReport) -> list[Placed]:
    """Who was measured on unseen items, best first; then the other trials, by validation items.

    The two are not comparable, so nobody of the second group stands above one of the first.
    """
    again = _on_unseen(stage)
    seen = {one.number for one in again}
    trials = [one for one in again if one.number is not None]
    place = len(trials)
    by_rank = ranks(stage)
    rest = [one for one in stage.measured if one.number not in seen]
    for one in sorted(rest, key=lambda one: by_rank[one.number]):
        place += 1
        name = "default" if one.number == 0 else f"trial {one.number}"
        again.append(
            Placed(
                name,
                one.number,
                place,
                one.objective or 0.0,
                VALIDATION,
                one.state,
                one.feasible,
                one.number == stage.chosen,
                params=one.params,
            )
        )
    return again


def _on_unseen(stage: StageReport) -> list[Placed]:
    if stage.standing is None:
        return []
    standing, sign = stage.standing, 1.0 if stage.standing.minimised else -1.0
    trials = {one.number: one for one in stage.trials}

    def order(one: Entry) -> tuple[Any, ...]:
        return one.number != standing.chosen and not one.feasible, sign * one.objective, one.name

    placed: list[Placed] = []
    place = 0
    for one in sorted(standing.systems, key=order):
        trial = None if one.number is None else trials.get(one.number)
        place += one.number is not None
        placed.append(
            Placed(
                one.name,
                one.number,
                place if one.number is not None else None,
                one.objective,
                standing.split,
                "" if trial is None else trial.state,
                one.feasible,
                one.number == standing.chosen,
                one.low,
                one.high,
                {} if trial is None else trial.params,
                one.against_default,
                one.against_parent,
            )
        )
    return placed


def trial_rows(report: SweepReport) -> list[dict[str, Any]]:
    """A row for each trial; a parameter's column is `param:<dotted path>`."""
    return [
        {
            "stage": stage.stage,
            "run": stage.run,
            "trial": one.number,
            "state": one.state,
            "chosen": one.number == stage.chosen,
            "step": one.step,
            "steps": stage.totals[one.number],
            "objective": one.objective,
            "violation": one.violation,
            "feasible": one.feasible,
            "seconds": one.seconds,
            "repeats": one.again,
            "reason": one.reason,
            **{f"param:{name}": value for name, value in one.params.items()},
            **{f"unseen:{name}": value for name, value in one.unseen.items()},
        }
        for stage in report.stages
        for one in stage.trials
    ]


def rung_rows(report: SweepReport) -> list[dict[str, Any]]:
    """A row for each measurement on validation items, with every metric."""
    return [
        {"stage": stage.stage, "trial": one.number, "step": step, **metrics}
        for stage in report.stages
        for one in stage.trials
        for step, metrics in one.rungs.items()
    ]


def timeline_rows(report: SweepReport) -> list[dict[str, Any]]:
    """A row for each stretch of work, in the order in which it began; times are UTC."""
    return [
        {
            "stage": one.stage,
            "trial": one.number,
            "state": one.state,
            "milestone": one.milestone,
            "node": one.node,
            "worker": one.worker,
            "began": _time(one.began),
            "ended": _time(one.ended),
            "seconds": round(one.ended - one.began, 3),
        }
        for one in bars(report.stages)
    ]


def leaderboard_rows(report: SweepReport) -> list[dict[str, Any]]:
    """A row for each system of each leaderboard."""
    return [
        {
            "stage": stage.stage,
            "place": one.place,
            "system": one.name,
            "trial": one.number,
            "chosen": one.chosen,
            "split": one.split,
            "objective": one.objective,
            "low": one.low,
            "high": one.high,
            "feasible": one.feasible,
            **_flat("default", one.against_default),
            **_flat("parent", one.against_parent),
            **{f"param:{name}": value for name, value in one.params.items()},
        }
        for stage in report.stages
        for one in leaderboard(stage)
    ]


def to_csv(rows: Sequence[Mapping[str, Any]], first: Iterable[str]) -> str:
    """CSV whose columns are `first`, then all others in the order in which they appear.

    What a row lacks is empty.
    """
    names = dict.fromkeys([*first, *(name for row in rows for name in row)])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def csvs(report: SweepReport) -> dict[str, str]:
    """All tables of a report by the name of their file."""
    return {
        "trials.csv": to_csv(trial_rows(report), ("stage", "run", "trial", "state")),
        "rungs.csv": to_csv(rung_rows(report), ("stage", "trial", "step", "objective")),
        "timeline.csv": to_csv(timeline_rows(report), ("stage", "trial", "milestone")),
        "leaderboard.csv": to_csv(leaderboard_rows(report), ("stage", "place", "system")),
    }


def _flat(name: str, one: FinalistDifference | None) -> dict[str, float | None]:
    keys = ("difference", "low", "high")
    return {f"to_{name}:{key}": None if one is None else getattr(one, key) for key in keys}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
