"""What the runs say: curves, their difference, seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from align.evaluation.statistics import mean_bounds
from benchmarks.grpo.run import Run, Writer

WRITERS: tuple[Writer, ...] = ("engine", "trl")
TARGET = 3.0


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Figures for each writer, and how far apart they are.

    `difference` is the engine's mean reward less TRL's, over all steps and over the second half,
    paired by seed.
    """
    mine = {writer: _of(writer, runs) for writer in WRITERS}
    steps = len(runs[0].rewards)
    return {
        "seeds": len(mine["trl"]),
        "steps": steps,
        "writers": {writer: _figures(some) for writer, some in mine.items()},
        "difference": {
            "all_steps": _difference(mine["engine"], mine["trl"], 0),
            "second_half": _difference(mine["engine"], mine["trl"], steps // 2),
        },
        "ratios": {
            "generation": round(_generation(mine["trl"]) / _generation(mine["engine"]), 3),
            "step": round(_step(mine["trl"]) / _step(mine["engine"]), 3),
        },
        "targets": {"generation": TARGET},
    }


def _of(writer: Writer, runs: Sequence[Run]) -> list[Run]:
    return sorted((run for run in runs if run.writer == writer), key=lambda run: run.seed)


def _figures(runs: Sequence[Run]) -> dict[str, Any]:
    """Rewards are means over seeds, seconds medians over steps of all seeds, the first left out."""
    return {
        "reward_curve": [
            round(fmean(step), 4) for step in zip(*(run.rewards for run in runs), strict=True)
        ],
        "mean_reward": round(fmean(value for run in runs for value in run.rewards), 4),
        "mean_length": round(fmean(value for run in runs for value in run.lengths), 1),
        "step_seconds": round(_step(runs), 3),
        "generation_seconds": round(_generation(runs), 3),
    }


def _seconds(lists: Iterable[Sequence[float]]) -> float:
    """The first step also pays for caches that are filled once."""
    return median(value for some in lists for value in some[1:])


def _step(runs: Sequence[Run]) -> float:
    return _seconds(run.step_seconds for run in runs)


def _generation(runs: Sequence[Run]) -> float:
    return _seconds(run.generation_seconds for run in runs)


def _difference(ours: Sequence[Run], theirs: Sequence[Run], first: int) -> dict[str, float | None]:
    """Mean over seeds, with Student's 95 % interval; none for one seed, or seeds that agree."""
    apart = [
        fmean(one.rewards[first:]) - fmean(two.rewards[first:])
        for one, two in zip(ours, theirs, strict=True)
    ]
    low, high = (None if math.isnan(bound) else round(bound, 4) for bound in mean_bounds(apart))
    return {"mean": round(fmean(apart), 4), "low": low, "high": high}


def print_report(result: dict[str, Any], console: Console) -> None:
    """The summary as a person reads it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("completions by")
    for name in ("mean reward", "mean tokens", "step", "of it generation"):
        table.add_column(name, justify="right")
    for writer, one in result["writers"].items():
        table.add_row(
            writer,
            f"{one['mean_reward']:.3f}",
            f"{one['mean_length']:.1f}",
            f"{one['step_seconds']:.2f} s",
            f"{one['generation_seconds']:.2f} s",
        )
    console.print(table)
    for writer, one in result["writers"].items():
        curve = " ".join(f"{value:.2f}" for value in one["reward_curve"])
        console.print(f"reward by step, {writer}: {curve}", highlight=False)
    for name, one in result["difference"].items():
        interval = "" if one["low"] is None else f" ({one['low']:+.3f} to {one['high']:+.3f})"
        console.print(
            f"engine less trl, {name.replace('_', ' ')}: {one['mean']:+.3f}{interval}",
            highlight=False,
        )
    ratios = result["ratios"]
    console.print(
        f"generation {ratios['generation']:.2f} times as fast (to reach: {TARGET:g}), "
        f"a step {ratios['step']:.2f} times",
        highlight=False,
    )
