"""`alignery sweep report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweeps.commands.common import JsonOption, open_all, print_json, sweep_app


@sweep_app.command()
def report(
    name: Annotated[
        str | None,
        typer.Argument(help="A recipe's name, or a line: <recipe>/<stage>. Default: the newest."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write, or an earlier report's. Default: report-<name>."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML page about a run, with its plots as PNG and its figures as CSV.

    Of a run that goes on, what there is so far.
    """
    from sweeps.report.gather import gather
    from sweeps.report.write import write
    from sweeps.run_store import find

    settings, database = open_all()
    target = find(database, name)
    found = gather(settings, database, target)
    folder = out or Path(f"report-{found.name.replace('/', '-')}")
    files = write(found, folder)
    page = folder / files[0]
    if as_json:
        stages = [one.stage for one in found.stages]
        print_json({"name": found.name, "page": str(page), "files": files, "stages": stages})
        return
    typer.echo(f"{page}: {len(found.stages)} of {len(found.stages) + len(found.waiting)} stages, "
               f"{len(files) - 1} files beside it")  # fmt: skip
