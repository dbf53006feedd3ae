"""Recordings of whole trainings, `<stage>-<number>.json`, made into learning curves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from align.recipe import load_recipe
from benchmarks.errors import BenchmarkError
from benchmarks.rungs.curves import OBJECTIVES, Curve, Measurement, StageCurves

RECIPE = "arithmetic"
#: Answers that were sampled for each prompt.
SAMPLES = 8
#: Significant digits of committed values.
DIGITS = 5
#: Metrics by measurement: the kind, the set of items in it, and what a rung could use of it.
_MEASURED = {
    "answers": ("answers", ("accuracy", "mean_reward")),
    "nll": ("completions", ("nll",)),
    "pairs": ("pairs", ("pair_accuracy", "margin")),
    "implied": ("pairs", ("implicit_pair_accuracy", "implicit_margin")),
}


def read_recordings(folder: Path) -> list[StageCurves]:
    """The stages of which two configurations or more are recorded as a whole in `folder`.

    BenchmarkError if there is no such stage, or if a recording's items are not those of the others.
    """
    stages = []
    for stage in OBJECTIVES:
        files = sorted(
            folder.glob(f"{stage}-*.json"), key=lambda file: int(file.stem.split("-")[1])
        )
        if len(files) > 1:
            recordings = [json.loads(file.read_text(encoding="utf-8")) for file in files]
            _check_items(recordings, files)
            stages.append(StageCurves(stage, [_curve(stage, content) for content in recordings]))
    if not stages:
        raise BenchmarkError(f"{folder}: no stage with two recordings <stage>-<number>.json")
    return stages


def _number(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])


def _check_items(recordings: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> None:
    for recording, file in zip(recordings, files, strict=True):
        if _items(recording) != _items(recordings[0]):
            raise BenchmarkError(f"{file}: measured on other items or steps than {files[0].name}")


def _items(recording: Mapping[str, Any]) -> dict[tuple[str, str, str], list[str]]:
    return {
        (step, kind, name): measured["keys"]
        for step, point in recording["points"].items()
        for kind, sets in point.items()
        if "/" in kind
        for name, measured in sets.items()
    }


def _curve(stage: str, recording: Mapping[str, Any]) -> Curve:
    points = {int(step): _measurement(point) for step, point in recording["points"].items()}
    last = recording["points"][str(max(points))]
    kind = "pairs" if stage == "reward" else "answers"
    test = last[f"test/{kind}"][_MEASURED[kind][0]][OBJECTIVES[stage]]
    return Curve(recording["params"], points, _rounded(test))


def _measurement(point: Mapping[str, Any]) -> Measurement:
    values: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    took = point["took"]
    for kind, (items, metrics) in _MEASURED.items():
        measured = point.get(f"validation/{kind}", {}).get(items, {})
        for metric in metrics:
            if metric in measured:
                values[metric] = _rounded(measured[metric])
                seconds[metric] = round(took[f"validation/{kind}"], 1)
    if "margin" in values:
        values["pair_loss"] = _rounded([_softplus(-margin) for margin in values["margin"]])
        seconds["pair_loss"] = seconds["margin"]
    if "sampled" in point:
        values["sampled_reward"] = _rounded(_by_prompt(point["sampled"]))
        seconds["sampled_reward"] = round(took["sampled"], 1)
    return Measurement(values, seconds)


def _by_prompt(parts: Mapping[str, Sequence[float]]) -> list[float]:
    """The mean reward of each prompt's answers, which stand side by side in each part.

    Parts that failed on an answer are left out of its reward, as in training.
    """
    weights = {name: config.weight for name, config in load_recipe(RECIPE).rewards("grpo").items()}
    totals = [
        sum(
            weights[name] * value
            for name, value in zip(parts, row, strict=True)
            if not math.isnan(value)
        )
        for row in zip(*parts.values(), strict=True)
    ]
    return [fmean(totals[at : at + SAMPLES]) for at in range(0, len(totals), SAMPLES)]


def _softplus(value: float) -> float:
    """log(1 + exp(value)), without overflow."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
