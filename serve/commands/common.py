"""What the commands of `alignery serve` have in common."""

from __future__ import annotations

from typing import Annotated

import typer

serve_app = typer.Typer(help="Serve a base and its adapters.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
