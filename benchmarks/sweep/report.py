"""What the searches say: ratios, scores with intervals, where the time went."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from align.evaluation.metrics import paired
from benchmarks.sweep.outcome import PHASES
from benchmarks.sweep.run import CONTENDERS, Contender, Run

TARGETS = {"plain": 3.0, "asha": 1.3}


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Figures of all contenders; means over seeds, ratios as geometric means over seeds.

    `best_score` is on items that no search saw; its `interval` is the 95 % one of ours less the
    other's, paired by item and seed.
    """
    mine = {name: [run for run in runs if run.contender == name] for name in CONTENDERS}

    def mean(of: Callable[[Run], float]) -> dict[str, float]:
        return {name: round(fmean(of(run) for run in mine[name]), 4) for name in CONTENDERS}

    peers: list[Contender] = [name for name in CONTENDERS if name != "ours"]
    return {
        "seeds": len(mine["ours"]),
        "makespan": mean(lambda run: run.outcome.makespan),
        "makespan_ratio": {name: _ratio(mine[name], mine["ours"]) for name in peers},
        "trials_an_hour": mean(lambda run: 3600 * len(run.outcome.trials) / run.outcome.makespan),
        "seconds_to_95_percent": mean(lambda run: run.outcome.seconds_to(0.95)),
        "best_score": {
            **mean(lambda run: fmean(run.correct)),
            "interval": {name: _difference(mine["ours"], mine[name]) for name in peers},
        },
        "validation_score": mean(lambda run: run.outcome.best.score or 0.0),
        "steps": mean(lambda run: sum(one.steps for one in run.outcome.trials)),
        "share": {
            name: {
                phase: round(fmean(run.outcome.shares()[phase] for run in mine[name]), 4)
                for phase in (*PHASES, "idle")
            }
            for name in CONTENDERS
        },
        "targets": TARGETS,
        "by_seed": [
            {
                "contender": run.contender,
                "seed": run.seed,
                "makespan": round(run.outcome.makespan, 1),
                "best": run.outcome.best.params,
                "validation": run.outcome.best.score,
                "unseen": fmean(run.correct),
            }
            for run in runs
        ],
    }


def _ratio(theirs: Sequence[Run], ours: Sequence[Run]) -> float:
    logs = [
        math.log(a.outcome.makespan / b.outcome.makespan) for a, b in zip(theirs, ours, strict=True)
    ]
    return round(math.exp(fmean(logs)), 3)


def _difference(ours: Sequence[Run], theirs: Sequence[Run]) -> dict[str, float]:
    found = paired(
        [value for run in ours for value in run.correct],
        [value for run in theirs for value in run.correct],
        share=True,
    )
    return {
        "difference": round(found.difference, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
    }


def print_report(result: dict[str, Any], console: Console) -> None:
    """The summary as a person reads it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("loop")
    titles = ("makespan", "trials/h", "to 95 %", "steps", "unseen", *PHASES, "idle")
    for title in titles:
        table.add_column(title, justify="right")
    for name in CONTENDERS:
        table.add_row(
            name,
            f"{result['makespan'][name]:.0f} s",
            f"{result['trials_an_hour'][name]:.0f}",
            f"{result['seconds_to_95_percent'][name]:.0f} s",
            f"{result['steps'][name]:.0f}",
            f"{result['best_score'][name]:.1%}",
            *(f"{result['share'][name][phase]:.0%}" for phase in (*PHASES, "idle")),
        )
    console.print(table)
    for peer, target in TARGETS.items():
        gain = result["best_score"]["interval"][peer]
        console.print(
            f"{result['makespan_ratio'][peer]:.2f} times shorter than {peer} "
            f"(to reach: {target:g}); unseen score {gain['difference']:+.3f} "
            f"({gain['low']:+.3f} to {gain['high']:+.3f})",
            highlight=False,
        )
    if "scaling_efficiency" in result:
        nodes = ", ".join(f"{n}: {e:.0%}" for n, e in result["scaling_efficiency"].items())
        console.print(
            f"scheduling efficiency by simulated nodes, stand-in trials of 5 s: {nodes}",
            highlight=False,
        )
