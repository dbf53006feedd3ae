"""What every contender is given: the same rows, space, seed and points, in one plain object."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from align.recipe import Recipe, load_recipe
from align.space.spaces import Value

RECIPE = Path(__file__).parent / "recipe.yaml"
STAGE = "sft"


@dataclass(frozen=True)
class Task:
    """One search. `points` are tried first, in this order; the rest is each one's own sampler's.

    `train` and `validation` are JSONL files of rows; `base` is a folder. Steps are optimizer
    steps. `rungs` are for those who prune.
    """

    base: str
    train: str
    validation: str
    seed: int
    trials: int
    steps: int
    rungs: list[int]
    reduction_factor: int
    concurrent: int
    batch: int
    max_length: int
    max_new_tokens: int
    learning_rate: list[float]
    ranks: list[int]
    points: list[dict[str, Any]]

    def write(self, file: Path) -> None:
        """As JSON, for a contender's process."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")


def recipe_of(seed: int, trials: int, steps: int) -> Recipe:
    """The benchmark's recipe with this seed for training and sampling, and rungs to scale."""
    recipe = load_recipe(str(RECIPE))
    stage = recipe.stages[STAGE]
    rungs = sorted({max(1, steps // 6), max(1, steps // 2)} - {steps})
    sweep = stage.sweep.model_copy(update={"seed": seed, "trials": trials, "rungs": rungs})
    stage = stage.model_copy(update={"max_steps": steps, "sweep": sweep})
    return recipe.model_copy(update={"seed": seed, "stages": {STAGE: stage}})


def task_of(recipe: Recipe, folder: Path, concurrent: int, fixed: bool) -> Task:
    """The recipe in plain terms; its rows are written into `folder`.

    `fixed` makes every point of the search the same for all, drawn from the space by the seed.
    """
    from align.base import model_source
    from align.data.splits import load_split

    stage = recipe.stages[STAGE]
    files = {}
    for split in ("train", "validation"):
        files[split] = folder / f"{split}.jsonl"
        rows = load_split(recipe, STAGE, split)
        files[split].write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    space = stage.space()
    rate, rank = space["learning_rate"], space["lora.r"]
    return Task(
        base=model_source(recipe.base),
        train=str(files["train"]),
        validation=str(files["validation"]),
        seed=recipe.seed,
        trials=stage.sweep.trials,
        steps=recipe.steps(STAGE),
        rungs=list(stage.sweep.rungs),
        reduction_factor=stage.sweep.reduction_factor,
        concurrent=concurrent,
        batch=int(stage.resolve().per_device_train_batch_size),
        max_length=int(stage.resolve().max_length),
        max_new_tokens=recipe.evaluation.max_new_tokens,
        learning_rate=[float(end) for end in rate.ends()],
        ranks=[int(value) for value in rank.ends()],
        points=points_of(recipe, fixed),
    )


def points_of(recipe: Recipe, fixed: bool) -> list[dict[str, Value]]:
    """The recipe's defaults, and with `fixed` as many more as there are trials."""
    stage = recipe.stages[STAGE]
    points = [stage.defaults()]
    ranks = stage.space()["lora.r"].ends()
    low, high = map(float, stage.space()["learning_rate"].ends())
    draw = random.Random(f"points {recipe.seed}")
    while fixed and len(points) < stage.sweep.trials:
        share = draw.random()
        points.append(
            {
                "learning_rate": low * (high / low) ** share,
                "lora.r": draw.choice(ranks),
            }
        )
    return points
