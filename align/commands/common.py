"""What the commands of `alignery recipe` share."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

recipe_app = typer.Typer(help="Write, check and look at recipes.", no_args_is_help=True)

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name or a YAML file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def print_json(value: Any) -> None:
    """Print a JSON value, indented, to stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
