"""GRPO's options."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from align.gpu_process import prepare_process
from align.json_output import JsonObjectOption
from align.sources import SMOLLM2, check_base


def grpo(
    seeds: Annotated[int, typer.Option(min=1, help="Training runs of each kind.")] = 3,
    steps: Annotated[int, typer.Option(min=2, help="Optimizer steps of a run.")] = 20,
    tokens: Annotated[int, typer.Option(min=1, help="Most tokens of a completion.")] = 32,
    parent_steps: Annotated[
        int, typer.Option(min=1, help="SFT steps of the parent that all runs share.")
    ] = 30,
    base: Annotated[str, typer.Option(help="The base model.")] = SMOLLM2,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keeps finished runs; a later call with the same options goes on."),
    ] = None,
    as_json: JsonObjectOption = False,
) -> None:
    """Mean rewards and seconds of GRPO steps, on the engine and with TRL's own generation.

    The arithmetic recipe's GRPO stage with its rewards that need no reward model, 16 completions
    a step, on a parent that SFT has shown the task. Both kinds of runs have the same seeds, so
    the same prompts in the same order and the same new adapter; what they sample differs.
    """
    check_base(base)
    prepare_process(1)
    from rich.console import Console

    from benchmarks.grpo.report import print_report, summary
    from benchmarks.grpo.run import Settings, measure

    settings = Settings(base, seeds, steps, tokens, parent_steps)
    with tempfile.TemporaryDirectory(prefix="alignery-bench-") as temporary:
        runs, machine = measure(settings, folder or Path(temporary))
    result = summary(runs)
    if as_json:
        whole = {**result, "runs": [run.to_json() for run in runs], "machine": machine}
        print(json.dumps(whole, ensure_ascii=False))
    else:
        print_report(result, Console())
