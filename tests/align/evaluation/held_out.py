"""The smoke recipe, and the plan of what is measured of a stage of it."""

from pathlib import Path

from align.evaluation.eval_plan import EvalPlan
from align.recipe import Recipe, load_recipe

SMOKE = load_recipe("arithmetic-smoke")


def held_out(
    recipe: Recipe, stage: str, parent: Path | None, judge: Path | None = None
) -> EvalPlan:
    return EvalPlan(recipe, stage, recipe.stages[stage].resolve(), parent, judge)
