"""Learning curves: each configuration's values of every item at each measuring point."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from align.methods import METHODS
from align.recipe.metric_schedule import rung_minimised
from benchmarks.errors import BenchmarkError

#: Where the curves stand that the benchmark replays.
SHIPPED = Path(__file__).parent / "curves"
#: What each stage's winner is chosen by, in the order of the stages.
OBJECTIVES = {
    "sft": "accuracy",
    "reward": "pair_accuracy",
    "dpo": "accuracy",
    "grpo": "mean_reward",
}


@dataclass(frozen=True)
class Measurement:
    """A configuration at an optimizer step.

    `values` has by metric a value for each validation item, in the same order for all
    configurations of a stage; `seconds` the CPU seconds that it took to measure the metric.
    """

    values: Mapping[str, Sequence[float]]
    seconds: Mapping[str, float]

    def promise(self, metric: str) -> list[float]:
        """The metric of each item, turned so that more is better; no number is the worst."""
        sign = -1.0 if rung_minimised(metric) else 1.0
        return [-math.inf if math.isnan(value) else sign * value for value in self.values[metric]]


@dataclass(frozen=True)
class Curve:
    """A configuration that was trained to its end; `test` is its objective of unseen items."""

    params: Mapping[str, Any]
    points: Mapping[int, Measurement]
    test: Sequence[float]

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Curve:
        """A curve from JSON. KeyError, TypeError, ValueError or AttributeError if it is none."""
        points = {int(step): Measurement(**point) for step, point in content["points"].items()}
        return cls(content["params"], points, content["test"])


@dataclass(frozen=True)
class StageCurves:
    """All configurations of a stage, measured at the same steps on the same items."""

    stage: str
    curves: Sequence[Curve]

    def __post_init__(self) -> None:
        """BenchmarkError says in what the configurations differ, or that there are too few."""
        if self.stage not in OBJECTIVES:
            raise BenchmarkError(
                f"stage {self.stage!r} of the curves: expected one of {', '.join(OBJECTIVES)}"
            )
        if len(self.curves) < 2:
            raise BenchmarkError(f"{self.stage}: a replay needs the curves of two configurations")
        shapes = {json.dumps(_shape(curve)) for curve in self.curves}
        if len(shapes) > 1:
            raise BenchmarkError(
                f"{self.stage}: the configurations differ in steps, metrics or numbers of items"
            )
        if self.objective not in self.curves[0].points[self.steps[-1]].values:
            raise BenchmarkError(f"{self.stage}: no {self.objective} at the last step")

    @property
    def objective(self) -> str:
        """The metric by which the winner is chosen at the end."""
        return OBJECTIVES[self.stage]

    @property
    def rung_metric(self) -> str:
        """By which metric trials are compared at rungs; a stage has the name of its method."""
        return METHODS[self.stage].rung_metric

    @property
    def steps(self) -> list[int]:
        """The measuring points in optimizer steps: the rungs, and the last step."""
        return sorted(self.curves[0].points)

    @property
    def metrics(self) -> list[str]:
        """The metrics that were measured at every rung."""
        points = [self.curves[0].points[step] for step in self.steps[:-1]]
        return [name for name in points[0].values if all(name in p.values for p in points)]

    def validation(self, index: int) -> float:
        """The final objective of the configuration `index` on validation items."""
        return fmean(self.curves[index].points[self.steps[-1]].values[self.objective])

    def unseen(self, index: int) -> float:
        """The final objective of the configuration `index` on test items."""
        return fmean(self.curves[index].test)


def _shape(curve: Curve) -> list[Any]:
    points = [
        [step, sorted((name, len(values)) for name, values in point.values.items())]
        for step, point in sorted(curve.points.items())
    ]
    return [points, len(curve.test)]


def read_curves(folder: Path) -> list[StageCurves]:
    """The stages with curves in `folder`, in the order of `OBJECTIVES`.

    BenchmarkError if there are none, or if a file is damaged.
    """
    files = {stage: folder / f"{stage}.json" for stage in OBJECTIVES}
    stages = [_read(stage, file) for stage, file in files.items() if file.is_file()]
    if not stages:
        names = ", ".join(file.name for file in files.values())
        raise BenchmarkError(
            f"{folder}: no learning curves there; expected {names}, or --record FOLDER, which "
            "trains and measures them, or --recordings with a folder of earlier recordings"
        )
    return stages


def _read(stage: str, file: Path) -> StageCurves:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        curves = [Curve.read(item) for item in content["configurations"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"{file}: not a file of learning curves ({error})") from error
    return StageCurves(stage, curves)


def write_curves(stages: Sequence[StageCurves], folder: Path) -> list[Path]:
    """Write a file for each stage, a line for each configuration; the files' paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for stage in stages:
        lines = [json.dumps(asdict(curve), separators=(",", ":")) for curve in stage.curves]
        file = folder / f"{stage.stage}.json"
        file.write_text('{"configurations":[\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
        files.append(file)
    return files
