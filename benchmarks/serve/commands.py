"""The options of `alignery bench serve`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from align.json_output import JsonObjectOption
from align.sources import SMOLLM2, check_base


def serve(
    base: Annotated[str, typer.Option(help="The base model.")] = SMOLLM2,
    clients: Annotated[int, typer.Option(min=1, help="Clients at a time.")] = 32,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of each answer.")] = 48,
    adapters: Annotated[int, typer.Option(min=1, help="Adapters, asked for in turn.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs of each; medians count.")] = 3,
    python: Annotated[
        Path | None,
        typer.Option(help="A Python that has vLLM, transformers or both: they are measured, too."),
    ] = None,
    as_json: JsonObjectOption = False,
) -> None:
    """The endpoint over HTTP, beside its own engine, a stub that only streams, and other servers.

    Clients are in a process of their own and share the machine with the endpoint, as they do not
    where it is used. The engine alone is the same engine, asked without HTTP and Ray, in turns
    with the endpoint. About eight minutes on two cores, and as many more for
    `vllm serve` and `transformers serve` where a Python is named that has them.
    """
    check_base(base)
    from rich.console import Console

    from benchmarks.serve.report import print_report, summary
    from benchmarks.serve.run import Settings, measure

    result = summary(measure(Settings(base, clients, tokens, adapters, repeats, python)))
    if as_json:
        print(json.dumps(result))
    else:
        print_report(result, Console())
