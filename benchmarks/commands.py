"""`alignery bench …`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from align.gpu_process import prepare_process
from align.inference.options import TALLEST
from align.json_output import JsonObjectOption
from align.memory.machines import GPUS
from align.sources import SMOLLM2, TINY, check_base
from benchmarks.cases import chosen_cases
from benchmarks.errors import BenchmarkError
from benchmarks.grpo.commands import grpo
from benchmarks.gsm8k.commands import gsm8k
from benchmarks.memory.commands import memory
from benchmarks.prediction import check_alone, print_prediction
from benchmarks.priors.commands import priors
from benchmarks.rungs.commands import rungs
from benchmarks.serve.commands import serve
from benchmarks.sweep.commands import sweep

bench_app = typer.Typer(help="Measure on this machine.", no_args_is_help=True)
bench_app.command()(grpo)
bench_app.command()(gsm8k)
bench_app.command()(memory)
bench_app.command()(priors)
bench_app.command()(rungs)
bench_app.command()(serve)
bench_app.command()(sweep)


class PeerSet(StrEnum):
    """What is measured beside the engine: nothing, the installed libraries, or vLLM as well."""

    none = "none"
    peft = "peft"
    all = "all"


@bench_app.command()
def engine(
    base: Annotated[
        str | None, typer.Option(help=f"The base model. Default: {SMOLLM2}, {TINY} with --quick.")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Timed runs of each. Default: 3, 1 with --quick.")
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens that each request is made to write. Default: 48, or 8."),
    ] = None,
    only: Annotated[
        str, typer.Option(metavar="CASE,…", help="Only these cases. A wrong name lists all.")
    ] = "",
    peers: Annotated[PeerSet, typer.Option(help="What to measure beside the engine.")] = (
        PeerSet.all
    ),
    vllm_python: Annotated[
        Path | None, typer.Option(help="A Python that has vLLM; without it vLLM is left out.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A tiny random model and one short run of each.")
    ] = False,
    predict: Annotated[
        str | None,
        typer.Option(
            metavar="CARD",
            help=f"Measure nothing; predict the engine's speed on a card: {', '.join(GPUS)}.",
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(min=1, max=TALLEST, help="With --predict: the adapters' rank. Default: 16."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="With --predict: the config.json of another base.")
    ] = None,
    as_json: JsonObjectOption = False,
) -> None:
    """Tokens a second with many adapters on one base, beside PEFT, TRL and vLLM.

    Generated tokens over wall time from the first submission to the last token, prefill and
    sampling included, nothing reused between prompts. The same fresh prompts for every engine, in
    runs of random order; medians. What is written in the timed runs is checked against the base
    and the adapters in fp32. With several minutes for each peer, a full run takes a while.

    With --predict nothing is loaded: bytes, operations and launches of the engine's passes are set
    against the card's figures, for 0, 1 and 16 adapters at 1, 8 and 32 rows.
    """
    if predict is not None:
        measuring = {
            "--repeats": repeats,
            "--tokens": tokens,
            "--only": only,
            "--vllm-python": vllm_python,
            "--quick": quick,
        }
        check_alone(name for name, value in measuring.items() if value)
        print_prediction(predict, base or SMOLLM2, config, rank or 16, as_json)
        return
    if rank is not None or config is not None:
        raise BenchmarkError("--rank and --config are used with --predict alone; leave them out")
    if vllm_python is not None and peers is not PeerSet.all:
        raise BenchmarkError("--vllm-python is used with --peers all alone; leave one of them out")
    length = tokens if tokens is not None else 8 if quick else 48
    cases = chosen_cases(only, length, quick)
    ref = base if base is not None else TINY if quick else SMOLLM2
    check_base(ref)
    prepare_process(1)
    from rich.console import Console

    from benchmarks.results import RATIOS, ratios
    from benchmarks.run import Settings, measure
    from benchmarks.table import print_report

    count = repeats if repeats is not None else 1 if quick else 3
    report = measure(Settings(ref, cases, count, peers.value, vllm_python))
    if as_json:
        result = {
            "rows": [row.to_json() for row in report.rows],
            "ratios": ratios(report.rows),
            "targets": {name: [one.target, one.stretch] for name, one in RATIOS.items()},
            "machine": report.machine,
        }
        print(json.dumps(result, ensure_ascii=False))
    else:
        print_report(report.rows, Console())
    wrong = [f"{row.case.name} · {row.engine}" for row in report.rows if not row.good]
    if wrong:
        raise BenchmarkError(
            f"wrong outputs: {', '.join(wrong)}; their speeds mean nothing and are in no ratio"
        )
