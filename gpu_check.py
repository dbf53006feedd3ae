"""`alignery gpu check`: one command for the first card, and for CI without a card.

The checks of all packages are put together here, since none of these packages imports another.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from logging import NullHandler, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from align.errors import ModelError, RequestError
from align.gpu_preflight import find_fault, read_card
from align.gpu_process import prepare_process
from align.json_output import JsonObjectOption, print_json
from align.sources import SMOLLM2, TINY, check_base
from align.suggestions import did_you_mean
from cluster.errors import StorageError

if TYPE_CHECKING:
    from align.gpu_check.check import Check

gpu_app = typer.Typer(help="Check a GPU, and what is computed on it.", no_args_is_help=True)


@gpu_app.callback()
def _group() -> None:
    """Check a GPU, and what is computed on it."""


@gpu_app.command("check")
def check(
    base: Annotated[
        str | None,
        typer.Option(help=f"The base to check with. Default: {SMOLLM2}, on a CPU {TINY}."),
    ] = None,
    cpu: Annotated[
        bool, typer.Option("--cpu", help="Run what needs no card, on the CPU; no card is used.")
    ] = False,
    only: Annotated[
        str, typer.Option(metavar="CHECK,…", help="Only these checks; nothing is stored then.")
    ] = "",
    as_json: JsonObjectOption = False,
) -> None:
    """Check that this machine's card computes, serves and trains as it should.

    Three to five minutes on a T4, about two with --cpu; a line for each check. Exit code 1 if a
    check fails. The result is stored in the home folder, by the card's name: attach it to bug
    reports. `alignery recipe fit` predicts with the overheads that it measured.
    """
    prepare_process(0 if cpu else 1)
    base = base or (TINY if cpu else SMOLLM2)
    check_base(base)
    chosen = _prepare(cpu, only)
    result = _run(chosen, base, cpu, as_json=as_json, stored=not only)
    if as_json:
        print_json(result)
    if result["verdict"] == "FAIL":
        raise typer.Exit(1)


def _prepare(cpu: bool, only: str) -> tuple[Check, ...]:
    """Import the libraries, and check what can be known before anything runs."""
    from rich.console import Console

    console = Console(stderr=True)
    loading = "loading torch, transformers and TRL …"
    with console.status(loading) if console.is_terminal else nullcontext():
        _silence_libraries()
        from align.precision import precision

        precision()  # an error of ALIGNERY_GPU
        chosen = choose(only)
        if not cpu:
            check_for_card()
    return chosen


def _run(
    chosen: tuple[Check, ...], base: str, cpu: bool, *, as_json: bool, stored: bool
) -> dict[str, Any]:
    """Run the checks and print their lines; the whole result."""
    from rich.console import Console

    from align.gpu_check.check import Setting
    from align.gpu_check.record import describe, store, to_json
    from align.gpu_check.report import Report
    from align.gpu_check.run import run_checks
    from align.gpu_check.workplace import temporary_home

    report = Report(Console(stderr=as_json, highlight=False), len(chosen))
    try:
        with temporary_home() as folder:
            setting = Setting(base, "cpu" if cpu else "cuda", folder)
            described = describe(setting)
            results = run_checks(chosen, setting, report.start, report.result)
    finally:
        report.close()
    result = to_json(results, described)
    file = store(result) if stored else None
    report.end(result, file)
    if file is not None and not cpu:
        _share(file)
    return result


def _share(file: Path) -> None:
    """Copy a card's result to where the commands that start work on a cluster look for it."""
    from cluster.gpu_checks import share_check
    from cluster.settings import Settings

    try:
        share_check(Settings(), file)
    except StorageError as error:
        typer.echo(f"the result could not be copied into the storage: {error}", err=True)


def checks() -> tuple[Check, ...]:
    """All checks, in their order: cheap ones first, and those that start processes last."""
    from align.gpu_check import (
        attention,
        card,
        compiler,
        engine,
        graphs,
        half_precision,
        memory,
        speed,
        stages,
    )
    from serve.gpu_check import serving
    from sweeps import gpu_check as sharing

    return (
        card.CHECK,
        compiler.CHECK,
        attention.CHECK,
        half_precision.CHECK,
        graphs.CHECK,
        engine.CHECK,
        stages.CHECK,
        memory.CHECK,
        sharing.CHECK,
        serving.CHECK,
        speed.CHECK,
    )


def choose(only: str) -> tuple[Check, ...]:
    """The checks that `only` names, separated by commas; all of them if it is empty.

    RequestError names a check that does not exist.
    """
    every = {check.name: check for check in checks()}
    names = [name.strip() for name in only.split(",") if name.strip()]
    if only and not names:
        raise RequestError(f"--only '{only}' names no check; allowed: {', '.join(every)}")
    for name in names:
        if name not in every:
            hint = did_you_mean(name, every, before="; ")
            raise RequestError(f"no check '{name}'{hint}; allowed: {', '.join(every)}")
    return tuple(every[name] for name in every if not names or name in names)


def check_for_card() -> None:
    """ModelError if no CUDA card can be used, with the reason."""
    if fault := find_fault(read_card()):
        raise ModelError(
            f"no card to check: {fault}; `alignery gpu check --cpu` runs all that needs none"
        )


def _silence_libraries() -> None:
    """No warnings and progress bars of libraries between the lines of the checks."""
    from transformers.utils import logging

    warnings.filterwarnings("ignore", module="(peft|trl|transformers|torch|accelerate).*")
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    getLogger().addHandler(NullHandler())  # what is logged would be printed otherwise
