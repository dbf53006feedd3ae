"""`alignery sweep submit` and `logs`: sweeps that run as jobs of a cluster."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from align.json_output import print_json
from cluster.dashboard import (
    AddressOption,
    TrustNetworkOption,
    check_cluster,
    dashboard_address,
)
from sweeps.commands.common import JsonOption, RecipeArgument, sweep_app
from sweeps.commands.search_options import with_search_options
from sweeps.search_options import SearchOptions

if TYPE_CHECKING:
    from cluster.jobs import RayJob
    from cluster.tree import Tree

#: The most untracked files that are named.
_NAMED = 3


@sweep_app.command()
@with_search_options
def submit(
    recipe: RecipeArgument,
    options: SearchOptions,
    address: AddressOption = None,
    trust_network: TrustNetworkOption = False,
    ship: Annotated[
        bool,
        typer.Option(
            "--ship/--no-ship",
            help="Take the working tree along, or run the code that the image has.",
        ),
    ] = True,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a variable that the cluster must have; looked for there before anything "
            "starts. Repeat for several."
        ),
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(help="NAME=VALUE lines for the job. Everybody can read them: no secrets."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show what the job prints until it has ended.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run `alignery sweep run` as a job of a Ray cluster.

    The recipe travels as it is here, with its reward functions; local data
    files are uploaded to ALIGNERY_STORAGE. Passwords stay where they are: the
    cluster has its own. The same submission again finds the job that runs, or
    goes on with the sweep where it ended.
    """
    from align.recipe import load_recipe
    from cluster.gpu_checks import hint
    from cluster.jobs import SUCCEEDED, submit_job
    from cluster.settings import Settings
    from sweeps.submission import prepare

    settings, loaded = Settings(), load_recipe(recipe)
    dashboard = dashboard_address(settings, address)
    check_cluster(dashboard, trust_network)  # before data are uploaded
    with TemporaryDirectory() as folder:
        package = Path(folder) / "package.zip"
        submission, tree = prepare(
            settings, loaded, options, package, ship=ship, secrets=secret or (), env_file=env_file
        )
        job, new = submit_job(dashboard, submission)
    if new:
        _tell_what_travels(tree)
    _tell(job, new)
    if options.accelerator is not None and (advice := hint(settings, options.accelerator)):
        typer.echo(advice, err=True)
    if wait:
        job = _follow(dashboard, job, to_stderr=as_json)
    if as_json:
        print_json({**asdict(job), "new": new, "address": dashboard})
    elif not wait:
        typer.echo(job.id)
    if wait and job.status != SUCCEEDED:
        raise typer.Exit(1)


@sweep_app.command()
def logs(
    name: Annotated[
        str | None, typer.Argument(help="A recipe, or a job's id. Default: the newest job.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    address: AddressOption = None,
) -> None:
    """Show what a submitted sweep has printed."""
    from cluster.jobs import find_job, job_logs
    from cluster.settings import Settings

    dashboard = dashboard_address(Settings(), address)
    job = find_job(dashboard, name)
    if follow:
        _follow(dashboard, job, to_stderr=False)
    else:
        typer.echo(job_logs(dashboard, job.id), nl=False)
        typer.echo(_state(job), err=True)


def _follow(address: str, job: RayJob, to_stderr: bool) -> RayJob:
    from cluster.jobs import follow_logs, job_status

    stream = sys.stderr if to_stderr else sys.stdout
    for piece in follow_logs(address, job.id):
        stream.write(piece)
        stream.flush()
    job = job_status(address, job.id)
    typer.echo(_state(job), err=True)
    return job


def _tell_what_travels(tree: Tree | None) -> None:
    if tree is None:
        typer.echo("the image's own code runs; the recipe goes along", err=True)
        return
    sizes = tree.sizes()
    line = f"{tree.root} goes along: {len(sizes)} files, {sum(sizes.values()) / 2**20:.1f} MiB"
    if tree.left_out:
        named = ", ".join(str(path) for path in tree.left_out[:_NAMED])
        more = ", …" if len(tree.left_out) > _NAMED else ""
        line += f"; {len(tree.left_out)} that git does not track stay here ({named}{more})"
    typer.echo(line, err=True)


def _tell(job: RayJob, new: bool) -> None:
    line = f"job {job.id} submitted" if new else f"job {job.id} is {job.status.lower()} already"
    follow = f"`alignery sweep logs {job.id} --follow` shows what it does"
    typer.echo(f"{line}; {follow}, `alignery sweep stop {job.recipe}` ends it", err=True)


def _state(job: RayJob) -> str:
    # For a failed job, Ray repeats the end of its log after the message's first line.
    reason = "" if job.live else job.message.partition("\n")[0]
    return f"job {job.id}: {job.status}" + (f": {reason}" if reason else "")
