"""Options, settings and output that the commands of `alignery sweep` share."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cluster.database import Database
    from cluster.database.tables import Launch, Sweep
    from cluster.settings import Settings
    from sweeps.trials import TrialSummary

sweep_app = typer.Typer(
    no_args_is_help=True, help="Search the stages of a recipe for the best adapters."
)

RecipeArgument = Annotated[str, typer.Argument(help="A shipped recipe's name or a YAML file.")]
NameArgument = Annotated[str, typer.Argument(help="A recipe's name, or a line: <recipe>/<stage>.")]
NewestArgument = Annotated[
    str | None,
    typer.Argument(help="A recipe's name, or a line: <recipe>/<stage>. Default: the newest."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout; progress is on stderr.")
]


def open_all() -> tuple[Settings, Database]:
    """Open this installation's settings and its database."""
    from cluster.database import open_database
    from cluster.settings import Settings

    settings = Settings()
    return settings, open_database(settings)


def plain_launch(settings: Settings, database: Database, launch: Launch) -> dict[str, Any]:
    """A launch as JSON. `state` may be `interrupted`."""
    from sweeps.control import state_of

    return {
        "id": launch.id,
        "recipe": launch.name,
        "stages": launch.stages,
        "state": state_of(settings, database, launch),
        "reason": launch.reason,
        "request": launch.request,
        "driver": launch.driver,
        "job": launch.job_id,
        "beat_at": None if launch.beat_at is None else launch.beat_at.isoformat(),
        "created_at": launch.created_at.isoformat(),
        "ended_at": None if launch.ended_at is None else launch.ended_at.isoformat(),
    }


def plain_row(row: Sweep) -> dict[str, Any]:
    """A sweep as JSON, without its trials."""
    return {
        "line": row.line,
        "run": row.run,
        "stage": row.stage,
        "study": row.study,
        "state": row.state,
        "launch": row.launch_id,
        "best_trial": row.best_trial,
        "adapter_id": row.adapter_id,
        "seconds": row.seconds,
        "created_at": row.created_at.isoformat(),
    }


def plain_sweep(settings: Settings, database: Database, row: Sweep) -> dict[str, Any]:
    """A sweep as JSON: trials, the best, finalists, the answer, remarks, the worth of another."""
    from sweeps.answer import cost, plain_answer
    from sweeps.finalists import Standing
    from sweeps.results.search_worth import search_worth
    from sweeps.run_store import remarks_on, trial_price

    trials = trials_of(settings, row)
    spent = cost(row.seconds, trials, trial_price(database, row))
    best = next((trial for trial in trials if trial.number == row.best_trial), None)
    return {
        **plain_row(row),
        "adapter": None if row.adapter_id is None else version_of(settings, database, row),
        "pruned": sum(trial.state == "PRUNED" for trial in trials),
        "failed": sum(trial.state == "FAIL" for trial in trials),
        "best": None if best is None else asdict(best),
        "unseen": row.unseen,
        "answer": None if row.unseen is None else plain_answer(Standing.read(row.unseen), spent),
        "remarks": remarks_on(database, row),
        **search_worth(settings, database, row, trials).plain(),
        "trials": [asdict(trial) for trial in trials],
    }


def trials_of(settings: Settings, row: Sweep) -> list[TrialSummary]:
    """The trials of a sweep that have begun."""
    from sweeps.study.storage import read_trials

    return [trial for trial in read_trials(settings, row.study) if trial.state != "WAITING"]


def version_of(settings: Settings, database: Database, row: Sweep) -> str:
    """`line:version` of the adapter that a sweep has registered."""
    from cluster.registry import Registry
    from cluster.storage import Storage

    versions = Registry(database, Storage(settings)).versions(row.line)
    return next(version.name for version in versions if version.adapter_id == row.adapter_id)
