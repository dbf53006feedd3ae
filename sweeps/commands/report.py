"""`alignery sweep report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from align.json_output import print_json
from sweeps.commands.common import JsonOption, NewestArgument, open_all, sweep_app


@sweep_app.command()
def report(
    name: NewestArgument = None,
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
    contents = gather(settings, database, target)
    folder = out or Path(f"report-{contents.name.replace('/', '-')}")
    files = write(contents, folder)
    page = folder / files[0]
    if as_json:
        stages = [stage.stage for stage in contents.stages]
        print_json({"name": contents.name, "page": str(page), "files": files, "stages": stages})
        return
    typer.echo(
        f"{page}: {len(contents.stages)} of {len(contents.stages) + len(contents.waiting)} stages, "
        f"{len(files) - 1} files beside it"
    )
