"""What the commands of `alignery sweep` share."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

sweep_app = typer.Typer(
    no_args_is_help=True, help="Search the stages of a recipe for the best adapters."
)

#: Wide enough for any row, so that a table in a pipe has one line for each.
_PIPE_COLUMNS = 1000

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout; progress is on stderr.")
]


def print_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table on stdout; one line a row where it is not a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # A pipe has no width: what reads it gets whole lines.
    Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS).print(table)


def print_json(content: Any) -> None:
    """One JSON value on stdout, as people read it."""
    typer.echo(json.dumps(content, indent=2))
