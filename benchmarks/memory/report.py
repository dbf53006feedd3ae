"""Predicted beside measured, as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.memory.run import Result

_CAPTION = (
    "GiB of tensors at the peak; sequences x tokens (scored) of the largest micro-batch; "
    "fit: predicted with every sequence at its limit"
)
_NEAR = 0.1


def print_report(
    results: Sequence[Result], machine: Mapping[str, object], console: Console
) -> None:
    """A row for each stage, under the device's name: its seconds are no other card's."""
    played = f", as a {machine['played']}" if machine["played"] else ""
    name = machine["processor"] if machine["device"] == "cpu" else machine["device"]
    console.print(f"{name}, {machine['dtype']}{played}", highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim", caption=_CAPTION)
    table.caption_justify = "left"
    table.add_column("stage", no_wrap=True)
    for column in ("micro-batch", "predicted", "measured", "error", "fit", "s a step"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in results:
        seen = one.batches
        error = Text(f"{one.error:+.1%}", style="" if abs(one.error) <= _NEAR else "red")
        table.add_row(
            one.stage,
            f"{seen.sequences} x {seen.length} ({seen.scored})",
            _gib(one.predicted.tensors),
            _gib(one.measured),
            error,
            _gib(one.fit.tensors),
            f"{one.seconds:.2f}",
        )
    console.print(table)


def _gib(count: int) -> str:
    return f"{count / 2**30:.3f}"
