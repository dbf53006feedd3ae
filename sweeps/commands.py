"""`alignery sweep …`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from align.recipe import Recipe
    from cluster.database import Database
    from cluster.database.tables import Sweep
    from cluster.settings import Settings
    from sweeps.sweep import SweepResult
    from sweeps.trials import TrialSummary

sweep_app = typer.Typer(
    no_args_is_help=True, help="Search the stages of a recipe for the best adapters."
)

#: Wide enough for any row, so that a table in a pipe has one line for each.
_PIPE_COLUMNS = 1000

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout; progress is on stderr.")]


@sweep_app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name or a YAML file.")],
    stage: Annotated[
        list[str] | None,
        typer.Option(help="Search this stage only; repeat for several. Default: all stages."),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Start new sweeps instead of continuing or reusing old ones."),
    ] = False,
    promote: Annotated[
        bool,
        typer.Option("--promote/--no-promote", help="Make each best adapter its line's champion."),
    ] = False,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials a stage. Default: what the recipe says.")
    ] = None,
    cpus_per_trial: Annotated[int, typer.Option(min=1, help="CPUs, and threads, a trial.")] = 1,
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at once. Default: as many as fit on Ray.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search a recipe's stages and register the best trial of each.

    An interrupted sweep goes on where it stopped. A finished one is returned
    as it is, as long as recipe, data and parents are the same; more --trials
    continue it.
    """
    from align.inputs import check_inputs
    from align.recipe import load_recipe
    from cluster.ray import ray_session
    from cluster.settings import Settings
    from sweeps.pipeline import check_needs, chosen, run_pipeline
    from sweeps.progress import Progress

    settings, loaded = Settings(), load_recipe(recipe)
    stages = chosen(loaded, stage)
    if settings.ray_address is None:  # a cluster's machines may see what this one does not
        check_inputs(loaded, stages)
    check_needs(settings, loaded, stages)
    if trials is not None:
        loaded = _with_trials(loaded, stages, trials)
    with ray_session(settings), Progress() as progress:
        results = run_pipeline(
            settings,
            loaded,
            stages,
            fresh=fresh,
            promote=promote,
            on_event=progress,
            cpus_per_trial=cpus_per_trial,
            max_concurrent=max_concurrent,
        )
    if as_json:
        _print_json({name: _result(one) for name, one in results.items()})
    else:
        for one in results.values():
            typer.echo(_sentence(one))


@sweep_app.command()
def status(
    line: Annotated[
        str | None, typer.Argument(help="<recipe>/<stage>. Default: the newest sweep of all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a line's newest sweep with all its trials."""
    from sweeps.ledger import newest

    settings, database = _open()
    row = newest(database, line)
    trials = _trials(settings, row)
    if as_json:
        _print_json({**_row(row), "trials": [asdict(one) for one in trials]})
        return
    _print_trials(row, trials)


@sweep_app.command()
def best(
    line: Annotated[str, typer.Argument(help="<recipe>/<stage>.")],
    as_json: Json = False,
) -> None:
    """Show the best trial of a line's newest finished sweep, and the version it became."""
    from sweeps.ledger import finished

    settings, database = _open()
    row = finished(database, line)
    trial = next(one for one in _trials(settings, row) if one.number == row.best_trial)
    version = _version(database, settings, row)
    if as_json:
        _print_json({**_row(row), "adapter": version, "trial": asdict(trial)})
        return
    params = ", ".join(f"{name} = {value}" for name, value in trial.params.items())
    typer.echo(f"{version}: trial {trial.number}, objective {trial.objective:.4g} ({params})")


@sweep_app.command("list")
def list_(as_json: Json = False) -> None:
    """Show all sweeps, oldest first."""
    from sweeps.ledger import sweeps

    rows = [_row(row) for row in sweeps(_open()[1])]
    if as_json:
        _print_json(rows)
        return
    if not rows:
        typer.echo("no sweeps yet: `alignery sweep run RECIPE` starts some", err=True)
        return
    _print_table(
        ("line", "run", "state", "best trial", "seconds", "started"),
        [
            (
                one["line"],
                str(one["run"]),
                one["state"],
                "–" if one["best_trial"] is None else str(one["best_trial"]),
                f"{one['seconds']:.0f}",
                one["created_at"][:19],
            )
            for one in rows
        ],
    )


def _open() -> tuple[Settings, Database]:
    from cluster.database import open_database
    from cluster.settings import Settings

    settings = Settings()
    return settings, open_database(settings)


def _with_trials(recipe: Recipe, stages: list[str], trials: int) -> Recipe:
    changed = recipe.model_copy(deep=True)
    for stage in stages:
        changed.stages[stage].sweep.trials = trials
    return changed


def _trials(settings: Settings, row: Sweep) -> list[TrialSummary]:
    from sweeps.optuna_storage import read_trials

    return [one for one in read_trials(settings, row.study) if one.state != "WAITING"]


def _version(database: Database, settings: Settings, row: Sweep) -> str:
    from cluster.registry import Registry
    from cluster.storage import Storage

    versions = Registry(database, Storage(settings)).versions(row.line)
    return next(one.name for one in versions if one.adapter_id == row.adapter_id)


def _row(row: Sweep) -> dict[str, Any]:
    return {
        "line": row.line,
        "run": row.run,
        "study": row.study,
        "state": row.state,
        "best_trial": row.best_trial,
        "adapter_id": row.adapter_id,
        "seconds": row.seconds,
        "created_at": row.created_at.isoformat(),
    }


def _result(result: SweepResult) -> dict[str, Any]:
    return {
        "line": result.line,
        "study": result.study,
        "run": result.run,
        "adapter": result.version.name,
        "adapter_id": result.version.adapter_id,
        "trials": [asdict(one) for one in result.trials],
        "pruned": result.pruned,
        "failed": result.failed,
        "best": asdict(result.best),
        "seconds": result.seconds,
    }


def _sentence(result: SweepResult) -> str:
    return (
        f"{result.version.name}: trial {result.best.number} of {len(result.trials)}, "
        f"objective {result.best.objective:.4g}, {result.pruned} pruned, {result.failed} failed, "
        f"{result.seconds:.0f} s"
    )


def _print_trials(row: Sweep, trials: list[TrialSummary]) -> None:
    from sweeps.ledger import STOPPED
    from sweeps.progress import objective_text, short, value_text

    names = list(dict.fromkeys(name for one in trials for name in one.params))
    typer.echo(f"{row.line} run {row.run}: {row.state}, {row.seconds:.0f} s")
    _print_table(
        ("trial", "state", "step", *map(short, names), "objective", "seconds", "reason"),
        [
            (
                str(one.number),
                one.state + (" *" if one.number == row.best_trial else ""),
                str(one.step),
                *(value_text(one.params.get(name)) for name in names),
                objective_text(one.objective),
                f"{one.seconds:.1f}",
                one.reason,
            )
            for one in trials
        ],
    )
    if row.state == STOPPED:
        typer.echo("the same `alignery sweep run` goes on where it stopped", err=True)


def _print_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # A pipe has no width: what reads it gets whole lines.
    Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS).print(table)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2))
