"""`alignery sweep resume`, `pause` and `stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.commands.common import JsonOption, NameArgument, open_all, sweep_app, version_of
from sweeps.commands.run import drive, tell

if TYPE_CHECKING:
    from align.recipe import Recipe
    from cluster.database import Database
    from cluster.database.tables import Launch, Sweep
    from cluster.settings import Settings
    from sweeps.run_store import RunTarget

#: States as the tables store them; importing the tables' modules is slow.
RUNNING, FINISHED, FAILED = "running", "finished", "failed"

WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until the driver has done it.")
]


@sweep_app.command()
def resume(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A recipe's name, or a line: <recipe>/<stage>. "
            "Default: the newest that did not finish."
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Have this many trials in all, a stage.")
    ] = None,
    add: Annotated[int | None, typer.Option(min=1, help="Run this many more trials, a stage.")] = (
        None
    ),
    failed: Annotated[
        bool, typer.Option("--failed", help="Run failed trials again, with the same parameters.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Go on with a sweep, as it was started.

    Recipe, stages and options are those it began with; of the working
    directory only data files are read, and they must not have changed. A line
    with --add, --trials or --failed searches that stage alone.
    """
    from sweeps import run_store
    from sweeps.control import check_free
    from sweeps.resume import Change, prepare
    from sweeps.runner import recorded_inputs

    change = Change(trials, add, failed)
    settings, database = open_all()
    target = run_store.to_resume(database, name)
    launch = _launch(target)
    check_free(settings, database, launch)
    if launch.state == FINISHED and not change:
        _tell_finished(settings, database, launch, as_json)
        return
    run_store.check_files(launch)
    resumed = prepare(settings, database, target, change)
    if resumed is None:
        typer.echo("nothing to do: there are so many trials already, and none has failed", err=True)
        _tell_finished(settings, database, launch, as_json)
        return
    inputs = recorded_inputs(settings, resumed.recipe, resumed.stages, resumed.options)
    drive(settings, database, inputs, resumed.launch, as_json)
    if resumed.launch is None and target.row is not None:
        _tell_children(database, resumed.recipe, target.row)


@sweep_app.command()
def pause(name: NameArgument, wait: WaitOption = True) -> None:
    """Make a sweep's driver leave everything where it is.

    Trials keep their newest checkpoints, and `alignery sweep resume` goes on.
    A line stands for the whole run that searches it.
    """
    from sweeps import run_store
    from sweeps.control import pause as ask

    settings, database = open_all()
    launch = _launch(run_store.find(database, name))
    if launch.state != RUNNING:
        typer.echo(f"{launch.name} is {launch.state} already")
        return
    if ask(settings, database, launch):
        _wait(settings, database, launch, None, f"pause {name}", wait)
    else:
        typer.echo(f"{launch.name} had no driver any more, and counts as paused now")


@sweep_app.command()
def stop(name: NameArgument, wait: WaitOption = True) -> None:
    """End a sweep now, with the best of what is complete.

    Its open trials fail. Of a recipe, stages that have not begun do not start;
    of a line, those that build on it take its best. `alignery sweep resume`
    goes on after all. A submitted job that has not begun is ended as well.
    """
    from sweeps import run_store
    from sweeps.control import stop as ask
    from sweeps.submission import stop_unbegun

    settings, database = open_all()
    if (job := stop_unbegun(settings, database, name)) is not None:
        typer.echo(f"job {job.id} had not begun to search, and is {job.status.lower()}")
        return
    target = run_store.find(database, name)
    launch, row = _launch(target), target.row
    state = launch.state if row is None else row.state
    if state in (FINISHED, FAILED):
        typer.echo(f"{name} is {state} already")
    elif ask(settings, database, launch, row):
        _wait(settings, database, launch, row, f"stop {name}", wait)
    else:
        _tell_ended(settings, database, launch, row)


def _wait(
    settings: Settings,
    database: Database,
    launch: Launch,
    row: Sweep | None,
    command: str,
    wait: bool,
) -> None:
    """Wait until the driver has obeyed. If it dies before that, a stop is completed here."""
    from rich.console import Console

    from sweeps.control import finish_alone, stop_job_of, wait_until_obeyed
    from sweeps.run_store import read

    if not wait:
        typer.echo(f"asked {launch.driver}; `alignery sweep status {launch.name}` shows its answer")
        return
    stopping = command.startswith("stop")
    is_job = stopping and launch.job_id is not None and settings.jobs_address is not None
    wait_for = stop_job_of if is_job else wait_until_obeyed
    with Console(stderr=True).status(f"waiting for {launch.driver}"):
        obeyed = wait_for(settings, database, launch, row)
    if not obeyed and stopping:
        finish_alone(settings, database, launch, row)
    if stopping:
        _tell_ended(settings, database, launch, row)
    else:
        current = read(database, launch.id)
        typer.echo(
            f"{current.name} is {current.state}; `alignery sweep resume {current.name}` goes on"
        )


def _tell_ended(settings: Settings, database: Database, launch: Launch, row: Sweep | None) -> None:
    from sweeps.run_store import rows_of
    from sweeps.sweep_store import read

    for sweep in rows_of(database, launch) if row is None else [read(database, row.id)]:
        if sweep.state == FINISHED:
            version = version_of(settings, database, sweep)
            typer.echo(f"{sweep.line} has ended: {version}, trial {sweep.best_trial}")
        else:
            typer.echo(f"{sweep.line} has ended without a complete trial")


def _tell_finished(settings: Settings, database: Database, launch: Launch, as_json: bool) -> None:
    from sweeps.run_store import rows_of

    rows = rows_of(database, launch)
    versions = ", ".join(version_of(settings, database, row) for row in rows if row.adapter_id)
    typer.echo(
        f"{launch.name} has finished: {versions}; `alignery sweep resume {launch.name} --add N` "
        "searches on",
        err=True,
    )
    if as_json:
        tell(settings, database, launch)


def _tell_children(database: Database, recipe: Recipe, former: Sweep) -> None:
    """Name the stages that were searched on the former best, if the line's best is another now."""
    from sweeps.resume import builds_on
    from sweeps.run_store import newest_of
    from sweeps.sweep_store import sweeps

    if newest_of(database, former.line).adapter_id == former.adapter_id:
        return
    for stage in builds_on(recipe, [former.stage]):
        if sweeps(database, recipe.line(stage)):
            typer.echo(
                f"{recipe.line(stage)} still builds on the former best; search it and what builds "
                f"on it again with `alignery sweep run RECIPE --from {stage}`",
                err=True,
            )


def _launch(target: RunTarget) -> Launch:
    """The launch of a target. SweepError if the sweep was not started by a command."""
    from sweeps.errors import SweepError

    if target.launch is None:
        line = "it" if target.row is None else target.row.line
        raise SweepError(
            f"{line} was not searched by `alignery sweep run`, so its driver cannot be asked; end "
            "it with Ctrl-C there, and `alignery sweep run` goes on where it stopped"
        )
    return target.launch
