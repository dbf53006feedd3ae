"""`alignery bench memory`'s options."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from align.gpu_process import prepare_process
from align.json_output import JsonObjectOption
from align.memory.machines import gpu as gpu_named
from benchmarks.errors import BenchmarkError

STAGES = ("sft", "reward", "dpo", "grpo", "kto")


def memory(
    gpu: Annotated[
        str,
        typer.Option(help="Play this card on the CUDA card that is here (its dtype and memory)."),
    ] = "",
    steps: Annotated[int, typer.Option(min=2, help="Optimizer steps of each stage.")] = 3,
    stages: Annotated[
        str, typer.Option(metavar="STAGE,…", help=f"Only these of {', '.join(STAGES)}.")
    ] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="A small model of the same layout, short sequences.")
    ] = False,
    as_json: JsonObjectOption = False,
) -> None:
    """Peak memory of the tutorial's stages, predicted and measured.

    Every stage of the shipped tutorial and KTO, chained, on a random model of Qwen2.5-0.5B's exact
    shape and data of the tutorial's formats and lengths. On CUDA the peak is what torch's allocator
    counts; on a CPU the profiler counts the last step's tensors, and the seconds are those of the
    steps before it. Needs about 1 GB of temporary files and, on a CPU, 8 GB of memory.
    """
    chosen = tuple(one.strip() for one in stages.split(",") if one.strip()) or STAGES
    if unknown := [one for one in chosen if one not in STAGES]:
        raise BenchmarkError(f"no stage '{unknown[0]}'; allowed: {', '.join(STAGES)}")
    if gpu:
        os.environ["ALIGNERY_GPU"] = gpu_named(gpu).name  # read when the base is loaded
    prepare_process(1)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler tells of each start and stop
    from rich.console import Console

    from benchmarks.memory.report import print_report
    from benchmarks.memory.run import Settings, measure

    with tempfile.TemporaryDirectory(prefix="alignery-bench-") as folder:
        results, machine = measure(Settings(chosen, steps, gpu, quick), Path(folder))
    if as_json:
        whole = {"stages": [one.to_json() for one in results], "machine": machine}
        print(json.dumps(whole, ensure_ascii=False))
    else:
        print_report(results, machine, Console())
