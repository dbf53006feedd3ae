"""Recordings of whole trainings: a file `<stage>-<number>.json` for each configuration."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from align.atomic_write import write_atomically
from align.errors import TrainingError
from align.evaluation.eval_plan import EvalPlan
from align.evaluation.metrics import Evaluation
from align.evaluation.rung_values import rung_values
from align.recipe import Recipe, load_recipe
from align.space.spaces import Value
from align.training.train import PUBLISHED, newest_checkpoint
from align.training.trial import Trial
from benchmarks.errors import BenchmarkError
from benchmarks.progress import Progress
from benchmarks.rungs.curves import OBJECTIVES, Curve, Measurement, StageCurves
from sweeps.study.distributions import whole

RECIPE = Path(__file__).parent / "recipe.yaml"
PARENT = "parent"
#: Significant digits of recorded values.
DIGITS = 5
#: What is measured of a stage's trials, by the metrics that each measurement gives.
_MEASURED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "sft": {"answers": ("accuracy",), "completions": ("nll",)},
    "reward": {"pairs": ("pair_accuracy", "margin", "pair_loss")},
    "dpo": {
        "answers": ("accuracy",),
        "implied": ("implicit_pair_accuracy", "implicit_margin"),
    },
    "grpo": {"answers": ("accuracy", "mean_reward"), "sampled": ("sampled_reward",)},
}


def configurations(recipe: Recipe, stage: str) -> list[dict[str, Value]]:
    """The parameters of a stage's trials: its defaults, and its points."""
    config = recipe.stages[stage]
    return [config.defaults(), *(whole(config, point) for point in config.sweep.points)]


def record(folder: Path, stages: Sequence[str]) -> None:
    """Train and measure every configuration of `stages` that `folder` has no recording of.

    Each takes some minutes to half an hour on two cores. A killed recording goes on from its
    newest checkpoint. A configuration that cannot be trained to its end, such as one whose loss is
    no number, is named and left out.
    """
    recipe = load_recipe(str(RECIPE))
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (stage, number, params)
        for stage in stages
        for number, params in enumerate(configurations(recipe, stage))
        if not _file(folder, stage, number).exists()
    ]
    parent_needed = any(recipe.stages[stage].parent for stage, _, _ in jobs)
    progress = Progress([*([PARENT] if parent_needed else []), *(stage for stage, _, _ in jobs)])
    parent = _parent(recipe, folder, progress) if parent_needed else None
    for stage, number, params in jobs:
        try:
            curve = _curve(recipe, stage, params, parent, folder / "work" / f"{stage}-{number}")
        except TrainingError as error:
            progress.run(f"{stage} {number}: {error}")
            continue
        write_atomically(_file(folder, stage, number), json.dumps(asdict(curve)))
        shutil.rmtree(folder / "work" / f"{stage}-{number}")
        progress.run(f"{stage} {number}")


def read_recordings(folder: Path) -> list[StageCurves]:
    """The stages of which two configurations or more are recorded in `folder`.

    BenchmarkError if there is no such stage, or if recordings of a stage differ in their items.
    """
    stages = []
    for stage in OBJECTIVES:
        files = sorted(folder.glob(f"{stage}-*.json"), key=_number)
        if len(files) > 1:
            stages.append(StageCurves(stage, [_read(file) for file in files]))
    if not stages:
        raise BenchmarkError(f"{folder}: no stage with two recordings <stage>-<number>.json")
    return stages


def _read(file: Path) -> Curve:
    try:
        return Curve.read(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"{file}: not a recording ({error})") from error


def _file(folder: Path, stage: str, number: int) -> Path:
    return folder / f"{stage}-{number}.json"


def _number(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])


def _parent(recipe: Recipe, folder: Path, progress: Progress) -> Path:
    """The published adapter that all other stages build on."""
    published = folder / PARENT
    if not published.exists():
        work = folder / "work" / PARENT
        work.mkdir(parents=True, exist_ok=True)
        trial = Trial(recipe, PARENT, {}, parent=None, reward_model=None, folder=work)
        trial.publish(published, trial.advance(trial.milestones[-1]))
        shutil.rmtree(work)
    progress.run(PARENT)
    return published


def _curve(
    recipe: Recipe, stage: str, params: Mapping[str, Value], parent: Path | None, folder: Path
) -> Curve:
    folder.mkdir(parents=True, exist_ok=True)
    own_parent = parent if recipe.stages[stage].parent else None
    trial = Trial(recipe, stage, params, parent=own_parent, reward_model=None, folder=folder)
    config = recipe.stages[stage].resolve(params)
    plan = EvalPlan(recipe, stage, config, own_parent, None)
    log, points = folder / "points.json", dict[int, Measurement]()
    if log.exists():
        stored = json.loads(log.read_text(encoding="utf-8"))
        points = {int(step): Measurement(**point) for step, point in stored.items()}
    for step in trial.milestones:
        if step in points:
            continue
        trial.advance(step)
        _, checkpoint = newest_checkpoint(folder)
        assert checkpoint is not None  # advance has made it
        points[step] = _measure(plan, recipe, stage, checkpoint / PUBLISHED, own_parent)
        plain = {number: asdict(point) for number, point in points.items()}
        write_atomically(log, json.dumps(plain))
    _, checkpoint = newest_checkpoint(folder)
    assert checkpoint is not None
    unseen = EvalPlan(recipe, stage, config, own_parent, None, "test")
    test = rung_values(unseen.decisive(checkpoint / PUBLISHED), OBJECTIVES[stage])
    return Curve(dict(params), points, _rounded(test))


def _measure(
    plan: EvalPlan, recipe: Recipe, stage: str, adapter: Path, parent: Path | None
) -> Measurement:
    """All metrics of a checkpoint's adapter by which a rung could compare."""
    config, evaluator = recipe.stages[stage], plan.evaluator
    rewards = recipe.rewards(stage)
    kinds: dict[str, Callable[[], Evaluation]] = {
        "answers": lambda: evaluator.answering(adapter, "validation", rewards, stage=stage),
        "completions": lambda: evaluator.likelihood(adapter, stage, "validation"),
        "pairs": lambda: evaluator.ranking(adapter, stage, "validation", by_score=True),
        "implied": lambda: evaluator.implying(adapter, parent, stage, "validation"),
        "sampled": lambda: evaluator.sampling(
            adapter, "validation", rewards, stage, config.sweep.rung_prompts,
            config.sweep.rung_samples,
        ),
    }  # fmt: skip
    values: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for kind, metrics in _MEASURED[stage].items():
        since = time.process_time()
        evaluation = kinds[kind]()
        took = round(time.process_time() - since, 1)
        for metric in metrics:
            values[metric] = _rounded(rung_values(evaluation, metric))
            seconds[metric] = took
    evaluator.forget(adapter)
    return Measurement(values, seconds)


def _rounded(values: Mapping[str, float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values.values()]
