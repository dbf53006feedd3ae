"""Check `stages`: every training method runs on a parent, and a new worker continues its trial.

A trial is trained to its rung, measured, taken up by a second `Trial` from its folder alone, and
published. The published adapter is then the parent's and the new LoRA in a single adapter, with
which serving must answer as the trained model does.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from align.adapters.tensors import read_factors
from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.gpu_check.recipes import PARENT, STEPS, recipe
from align.methods import METHODS
from align.precision import precision
from align.recipe import Recipe
from align.training.train import newest_checkpoint
from align.training.train_record import read_record
from align.training.trial import Trial

#: The largest mean difference between the trained stack and the published adapter in serving, in
#: nats a token or in units of a reward model's score, by dtype: the engine rounds the factors.
_DIFFERENCE = {"float32": 1e-3, "float16": 0.02, "bfloat16": 0.1}


def run(setting: Setting) -> Outcome:
    """See the module."""
    made, folder = recipe(setting.base), setting.folder / "stages"
    published: dict[str, Path] = {}
    seconds: dict[str, float] = {}
    differences: dict[str, float] = {}
    problems: list[str] = []
    for name in (PARENT, *METHODS):
        started = time.perf_counter()
        published[name], differences[name], objective = _trial(made, name, folder, published)
        seconds[name] = round(time.perf_counter() - started, 2)
        problems += find_problems(
            name, objective, differences[name], _ranks(name, published), precision().name
        )
    figures: dict[str, Any] = {"seconds": seconds, "serving_difference": differences}
    if problems:
        return failed(f"{'; '.join(problems)}: report it with the JSON", **figures)
    return passed(
        f"{', '.join(METHODS)}: {STEPS} steps each on a parent, resumed once; serving within "
        f"{max(differences.values()):.0e} of training",
        **figures,
    )


def _trial(
    made: Recipe, name: str, folder: Path, published: dict[str, Path]
) -> tuple[Path, float, float]:
    """Train a stage in two pieces: its adapter, its difference in serving, its objective."""
    stage, trial_folder = made.stages[name], folder / f"trial-{name}"

    def trial() -> Trial:
        return Trial(
            made,
            name,
            {},
            parent=published.get(stage.parent or ""),
            reward_model=published.get(stage.reward_model or ""),
            folder=trial_folder,
        )

    trial().advance(1)
    resumed = trial()
    metrics = resumed.advance(STEPS)
    target = folder / f"published-{name}"
    resumed.publish(target, metrics)
    _, checkpoint = newest_checkpoint(trial_folder)
    assert checkpoint is not None
    return target, read_record(checkpoint).stack_difference["mean"], metrics["objective"]


def _ranks(name: str, published: dict[str, Path]) -> tuple[int, int]:
    """The ranks of the parent, 0 for the parent itself, and of the published adapter."""
    beneath = 0 if name == PARENT else read_factors(published[PARENT]).rank
    return beneath, read_factors(published[name]).rank


def find_problems(
    name: str, objective: float, difference: float, ranks: tuple[int, int], dtype: str
) -> list[str]:
    """What is wrong about a stage, in words; empty if nothing."""
    problems = []
    if not math.isfinite(objective):
        problems.append(f"{name}: its objective is {objective}")
    if not difference <= _DIFFERENCE[dtype]:
        problems.append(f"{name}: serving differs from training by {difference:.1e}")
    if ranks[1] <= ranks[0]:
        problems.append(f"{name}: rank {ranks[1]} does not hold the parent's {ranks[0]}")
    return problems


CHECK = Check("stages", run, seconds=70, cpu_seconds=60)
