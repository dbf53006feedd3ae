"""The options that `alignery sweep run` and `alignery sweep submit` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated

import typer


@dataclass(frozen=True)
class SearchOptions:
    """What to search and where trials run; fields are named like the options of the commands.

    A submitted job gets them as `arguments` of its own `sweep run`.
    """

    from_: Annotated[
        str | None,
        typer.Option(
            "--from", help="Search this stage and all that build on it. Default: all stages."
        ),
    ] = None
    only: Annotated[
        list[str] | None,
        typer.Option(help="Search this stage alone; repeat for several."),
    ] = None
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Start new sweeps instead of continuing or reusing old ones."),
    ] = False
    promote: Annotated[
        bool,
        typer.Option("--promote/--no-promote", help="Make each best adapter its line's champion."),
    ] = False
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials a stage. Default: what the recipe says.")
    ] = None
    cpus_per_trial: Annotated[int, typer.Option(min=1, help="CPUs, and threads, a trial.")] = 1
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at once. Default: as many as fit on Ray.")
    ] = None
    accelerator: Annotated[
        str | None, typer.Option(help="The kind of GPU that trials need, as Ray names it: T4.")
    ] = None
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="A label of the nodes that trials run on, key=value; repeat for several."
        ),
    ] = None
    grow: Annotated[
        bool,
        typer.Option(
            "--grow",
            help="Hand out --max-concurrent trials before there is room, so that nodes come.",
        ),
    ] = False

    price: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="USD for an hour of a GPU, or of a machine without any; costs are then shown.",
        ),
    ] = None

    def arguments(self) -> list[str]:
        """Words of the command line, only for options that differ from their default."""
        words: list[str] = []
        for option in fields(self):
            value = getattr(self, option.name)
            flag = f"--{option.name.rstrip('_').replace('_', '-')}"
            if value is True:
                words.append(flag)
            elif isinstance(value, int | float | str) and value != option.default:
                words += [flag, str(value)]
            elif isinstance(value, Sequence) and not isinstance(value, str):
                words += [word for item in value for word in (flag, item)]
        return words
