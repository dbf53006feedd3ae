"""The options of `alignery bench rungs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from align.json_output import JsonObjectOption
from benchmarks.errors import BenchmarkError


def rungs(
    orders: Annotated[int, typer.Option(min=1, help="Orders of each stage's trials.")] = 32,
    recordings: Annotated[
        Path | None,
        typer.Option(help="A folder of recorded trainings to replay, in place of the shipped."),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Train and measure all configurations into this folder, then replay."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="With --record: this stage alone; may be repeated.")
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option(help="With --recordings: write their curves here too, as they are shipped."),
    ] = None,
    as_json: JsonObjectOption = False,
) -> None:
    """Which trials each pruner would have ended, and whether the best was among them.

    Without --record it trains nothing: learning curves that were recorded as a whole are replayed
    as searches of two trials at a time. For the paired pruner and Optuna's: how often the best
    configuration is trained to its end, the share of a full grid's steps, and what the winner loses
    on unseen items. And how well each metric at a rung tells the final order. A minute or two.
    """
    if record is not None and recordings is not None:
        raise BenchmarkError("--record makes recordings and --recordings reads them: give one")
    if only and record is None:
        raise BenchmarkError("--only says what --record trains; give --record, too")
    if pack is not None and record is None and recordings is None:
        raise BenchmarkError("--pack takes curves of --record or --recordings; give one of them")
    import optuna
    from rich.console import Console

    from benchmarks.rungs import recordings as files
    from benchmarks.rungs.curves import OBJECTIVES, SHIPPED, read_curves, write_curves
    from benchmarks.rungs.recordings import read_recordings
    from benchmarks.rungs.report import print_report, summary

    unknown = [stage for stage in only or () if stage not in OBJECTIVES]
    if unknown:
        raise BenchmarkError(f"--only {unknown[0]}: allowed: {', '.join(OBJECTIVES)}")
    if record is not None:
        files.record(record, only or list(OBJECTIVES))
        recordings = record
    stages = read_curves(SHIPPED) if recordings is None else read_recordings(recordings)
    if pack is not None:
        write_curves(stages, pack)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    progress = Console(stderr=True)
    result = summary(stages, orders, lambda text: progress.print(f"replaying {text}", style="dim"))
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        print_report(result, Console())
