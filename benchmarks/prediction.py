"""`alignery bench engine --predict`: what the engine should do on a card that is not here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import typer

from align.commands.engine_speed import speed_json, speed_text
from align.json_output import print_json
from align.memory.machines import gpu
from align.memory.shape import read_shape
from benchmarks.errors import BenchmarkError


def check_alone(given: Iterable[str]) -> None:
    """BenchmarkError if any of these options, which are for measuring, is given."""
    if names := ", ".join(given):
        raise BenchmarkError(f"--predict measures nothing: leave {names} out")


def print_prediction(card: str, base: str, config: Path | None, rank: int, as_json: bool) -> None:
    """Print the speeds of a base, or of the sizes in `config`.

    RequestError lists the cards if `card` is unknown; ModelError if the sizes cannot be read.
    """
    machine, shape = gpu(card), read_shape(base, config)
    source = str(config or base)
    if as_json:
        print_json({
            "base": source,
            "parameters": shape.parameters,
            **speed_json(shape, machine, rank),
        })  # fmt: skip
        return
    typer.echo(f"{source}: {shape.parameters / 1e6:,.1f} million weights in {machine.dtype}")
    for line in speed_text(shape, machine, rank):
        typer.echo(line)
