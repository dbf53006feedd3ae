"""The options of `alignery bench sweep`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from align.json_output import JsonObjectOption
from align.sources import SMOLLM2, check_base


def sweep(
    seeds: Annotated[int, typer.Option(min=1, help="Searches of each loop.")] = 1,
    trials: Annotated[int, typer.Option(min=2, help="Trials of a search.")] = 8,
    steps: Annotated[int, typer.Option(min=6, help="Optimizer steps of a whole trial.")] = 30,
    concurrent: Annotated[int, typer.Option(min=1, help="Trials at a time, a core each.")] = 2,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="All try one list of points, in place of samplers.")
    ] = False,
    scaling: Annotated[
        bool,
        typer.Option("--scaling/--no-scaling", help="64 stand-in trials on 1 and 8 nodes, too."),
    ] = True,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keeps finished searches; a later call with the same options goes on."),
    ] = None,
    as_json: JsonObjectOption = False,
) -> None:
    """A search from start to best adapter, beside the loops that people write with Ray Tune.

    SFT on SmolLM2 with the same rows, space, seed and validation items: Alignery; Ray Tune with
    OptunaSearch and a function around TRL (plain); the same with Ray's ASHA at the same rungs. Each
    in a process of its own, from its start to its end. The best of each then answers items that
    no search saw. About 25 minutes a seed on two cores, 7 more for the scaling.
    """
    check_base(SMOLLM2)
    from rich.console import Console

    from benchmarks.sweep.report import print_report, summary
    from benchmarks.sweep.run import Settings, measure

    settings = Settings(seeds, trials, steps, concurrent, fixed)
    with tempfile.TemporaryDirectory(prefix="alignery-bench-") as temporary:
        result = summary(measure(settings, folder or Path(temporary)))
    if scaling:
        from benchmarks.scaling.run import measure as scaled

        result["scaling_efficiency"] = {
            str(nodes): round(scaled(nodes)["efficiency"], 3) for nodes in (1, 8)
        }
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        print_report(result, Console())
