"""`alignery sweep status`, `best` and `list`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps.commands.common import JsonOption, print_json, print_table, sweep_app

if TYPE_CHECKING:
    from cluster.database import Database
    from cluster.database.tables import Sweep
    from cluster.settings import Settings
    from sweeps.study.trials import TrialSummary


@sweep_app.command()
def status(
    line: Annotated[
        str | None, typer.Argument(help="<recipe>/<stage>. Default: the newest sweep of all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a line's newest sweep with all its trials."""
    from sweeps.ledger import newest

    settings, database = _open()
    row = newest(database, line)
    trials = _trials(settings, row)
    if as_json:
        print_json({**_row(row), "trials": [asdict(one) for one in trials]})
        return
    _print_trials(row, trials)


@sweep_app.command()
def best(
    line: Annotated[str, typer.Argument(help="<recipe>/<stage>.")],
    as_json: JsonOption = False,
) -> None:
    """Show the best trial of a line's newest finished sweep, and the version it became."""
    from sweeps.ledger import finished

    settings, database = _open()
    row = finished(database, line)
    trial = next(one for one in _trials(settings, row) if one.number == row.best_trial)
    version = _version(database, settings, row)
    if as_json:
        print_json({**_row(row), "adapter": version, "trial": asdict(trial)})
        return
    params = ", ".join(f"{name} = {value}" for name, value in trial.params.items())
    typer.echo(f"{version}: trial {trial.number}, objective {trial.objective:.4g} ({params})")


@sweep_app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Show all sweeps, oldest first."""
    from sweeps.ledger import sweeps

    rows = [_row(row) for row in sweeps(_open()[1])]
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("no sweeps yet: `alignery sweep run RECIPE` starts some", err=True)
        return
    print_table(
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


def _trials(settings: Settings, row: Sweep) -> list[TrialSummary]:
    from sweeps.study.storage import read_trials

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


def _print_trials(row: Sweep, trials: list[TrialSummary]) -> None:
    from sweeps.ledger import STOPPED
    from sweeps.progress import objective_text, short, value_text

    names = list(dict.fromkeys(name for one in trials for name in one.params))
    typer.echo(f"{row.line} run {row.run}: {row.state}, {row.seconds:.0f} s")
    print_table(
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
