"""What the commands of `alignery recipe` share."""

from __future__ import annotations

from typing import Annotated

import typer

from align.errors import RecipeError
from align.recipe import Recipe

recipe_app = typer.Typer(help="Write, check and look at recipes.", no_args_is_help=True)

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name or a YAML file.")
]


def check_stage(recipe: Recipe, stage: str) -> None:
    """RecipeError unless the recipe has the stage."""
    if stage not in recipe.stages:
        raise RecipeError(
            f"{recipe.name} has no stage '{stage}'; allowed: {', '.join(recipe.stages)}"
        )
