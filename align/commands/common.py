"""What the commands of `alignery recipe` share."""

from __future__ import annotations

from typing import Annotated

import typer

recipe_app = typer.Typer(help="Write, check and look at recipes.", no_args_is_help=True)

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name or a YAML file.")
]
