"""Tables as the commands print them: wrapped in a terminal, a line for each row in a pipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

#: Wide enough that each row of a table in a pipe takes a single line.
_PIPE_COLUMNS = 1000
#: Characters of a column that stays whole, and the least that is left to each of the others.
_SHORT, _LEAST = 24, 12


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout. Titles that are all empty are left out."""
    print_parts(table_of(titles, rows))


def table_of(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of plain text. What is too long for the terminal is wrapped, and never cut off.

    Short columns stay whole where the terminal leaves room for the others.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=any(titles))
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    short = [width <= _SHORT for width in widths]
    room = sum(width if whole else _LEAST for width, whole in zip(widths, short, strict=True))
    fits = room + 2 * len(widths) <= shutil.get_terminal_size().columns
    for title, whole in zip(titles, short, strict=True):
        table.add_column(title, overflow="fold", no_wrap=fits and whole)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def print_parts(*parts: RenderableType) -> None:
    """Print Rich renderables on stdout. A pipe gets whole lines without trailing blanks."""
    from rich.console import Console

    if sys.stdout.isatty():
        for part in parts:
            Console(markup=False, highlight=False).print(part)
        return
    console = Console(width=_PIPE_COLUMNS, markup=False)
    with console.capture() as drawn:
        for part in parts:
            console.print(part)
    for line in drawn.get().splitlines():
        typer.echo(line.rstrip())
