"""`alignery sweep status`, `best` and `list`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from align.console_tables import print_table
from align.json_output import print_json
from sweeps.commands.common import (
    JsonOption,
    NewestArgument,
    open_all,
    plain_launch,
    plain_row,
    plain_sweep,
    sweep_app,
    trials_of,
    version_of,
)

if TYPE_CHECKING:
    from cluster.database import Database
    from cluster.database.tables import Launch, Sweep
    from cluster.settings import Settings
    from sweeps.finalists import Standing
    from sweeps.trials import TrialSummary

#: States of a launch after which `alignery sweep resume` has something to do.
_GOES_ON = ("paused", "stopped", "failed", "interrupted")


@sweep_app.command()
def status(
    name: NewestArgument = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a run stands, with all trials of its stages.

    Of a line, its newest sweep. `interrupted` is what should be running and
    has no living driver.
    """
    from sweeps.run_store import find, rows_of

    settings, database = open_all()
    target = find(database, name)
    launch = target.launch
    rows = rows_of(database, launch) if target.row is None and launch else [target.row]
    sweep_rows = [row for row in rows if row is not None]
    plain = None if launch is None else plain_launch(settings, database, launch)
    if as_json:
        contents = [plain_sweep(settings, database, row) for row in sweep_rows]
        print_json({"launch": plain, "sweeps": contents})
        return
    if plain is not None:
        typer.echo(_launch_line(plain))
    for row in sweep_rows:
        typer.echo()
        _print_sweep(settings, database, row)
    if launch is not None:
        _tell_waiting(launch, sweep_rows if target.row is None else rows_of(database, launch))
    if plain is not None and plain["state"] in _GOES_ON:
        typer.echo(f"`alignery sweep resume {plain['recipe']}` goes on where it stopped", err=True)


@sweep_app.command()
def best(
    line: Annotated[str, typer.Argument(help="<recipe>/<stage>.")],
    as_json: JsonOption = False,
) -> None:
    """Show the chosen trial of a line's newest finished sweep, and the version it became."""
    from sweeps.sweep_store import finished

    settings, database = open_all()
    row = finished(database, line)
    if as_json:
        print_json(plain_sweep(settings, database, row))
        return
    trial = next(trial for trial in trials_of(settings, row) if trial.number == row.best_trial)
    params = ", ".join(f"{name} = {value}" for name, value in trial.params.items())
    version = version_of(settings, database, row)
    typer.echo(f"{version}: trial {trial.number}, objective {trial.objective:.4g} ({params})")
    if row.unseen:
        from sweeps.finalists import Standing
        from sweeps.progress import standing_text

        typer.echo(standing_text(Standing.read(row.unseen)))


@sweep_app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Show all runs and all sweeps, oldest first."""
    from sweeps.run_store import launches
    from sweeps.sweep_store import sweeps

    settings, database = open_all()
    runs = [plain_launch(settings, database, launch) for launch in launches(database)]
    rows = [plain_row(row) for row in sweeps(database)]
    if as_json:
        print_json({"launches": runs, "sweeps": rows})
        return
    if not rows and not runs:
        typer.echo("no sweeps yet: `alignery sweep run RECIPE` starts some", err=True)
        return
    if runs:
        print_table(
            ("run", "recipe", "stages", "state", "started", "reason"),
            [
                (
                    str(run["id"]),
                    run["recipe"],
                    ", ".join(run["stages"]),
                    run["state"],
                    run["created_at"][:19],
                    run["reason"],
                )
                for run in runs
            ],
        )
        typer.echo()
    print_table(
        ("line", "sweep", "in run", "state", "best trial", "seconds", "started"),
        [
            (
                row["line"],
                str(row["run"]),
                _or_dash(row["launch"]),
                row["state"],
                _or_dash(row["best_trial"]),
                f"{row['seconds']:.0f}",
                row["created_at"][:19],
            )
            for row in rows
        ],
    )


def _launch_line(launch: dict[str, Any]) -> str:
    request = f", asked to {launch['request']}" if launch["request"] else ""
    reason = f" ({launch['reason']})" if launch["reason"] else ""
    driver = f", {launch['driver']}" if launch["state"] == "running" else ""
    job = f", job {launch['job']}" if launch["job"] else ""
    return f"{launch['recipe']}: {launch['state']}{reason}{request}{driver}{job}"


def _tell_waiting(launch: Launch, begun: list[Sweep]) -> None:
    waiting = [stage for stage in launch.stages if stage not in {row.stage for row in begun}]
    if waiting:
        typer.echo(f"\nnot begun: {', '.join(waiting)}")


def _print_sweep(settings: Settings, database: Database, row: Sweep) -> None:
    from sweeps.answer import answer_lines, cost
    from sweeps.finalists import Standing
    from sweeps.results.search_worth import search_worth
    from sweeps.run_store import remarks_on, trial_price

    trials = trials_of(settings, row)
    version = f", {version_of(settings, database, row)}" if row.adapter_id else ""
    typer.echo(f"{row.line} sweep {row.run}: {row.state}, {row.seconds:.0f} s{version}")
    standing = Standing.read(row.unseen) if row.unseen else None
    if standing is not None:
        for text in answer_lines(standing, cost(row.seconds, trials, trial_price(database, row))):
            typer.echo(text)
        typer.echo()
    _print_trials(row, trials)
    worth = search_worth(settings, database, row, trials).lines()
    for remark in remarks_on(database, row):
        if remark not in worth:
            typer.echo(f"- {remark}")
    for text in worth:
        typer.echo(text)
    if standing is not None:
        _print_unseen(standing)


@dataclass(frozen=True)
class _Column:
    """A column of the table of trials. It is left out if all its cells are empty."""

    title: str
    cells: list[str]


def _print_trials(row: Sweep, trials: list[TrialSummary]) -> None:
    from sweeps.progress import objective_text, short, value_text

    def column(title: str, cell: Any) -> _Column:
        return _Column(title, [cell(trial) for trial in trials])

    default = next((trial.objective for trial in trials if trial.number == 0), None)

    def against_default(trial: TrialSummary) -> str:
        if trial.state != "COMPLETE" or trial.number == 0 or None in (trial.objective, default):
            return ""
        return f"{(trial.objective or 0.0) - (default or 0.0):+.3g}"

    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    columns = [
        column("trial", lambda trial: str(trial.number)),
        column(
            "state", lambda trial: trial.state + (" *" if trial.number == row.best_trial else "")
        ),
        column("step", lambda trial: str(trial.step)),
        *(
            column(short(name), lambda trial, name=name: value_text(trial.params.get(name)))
            for name in names
        ),
        column("rung metric", _rung_text),
        column("objective", lambda trial: objective_text(trial.objective)),
        column("to default", against_default),
        column(
            "violation", lambda trial: "" if trial.violation is None else f"{trial.violation:.3g}"
        ),
        column("seconds", lambda trial: f"{trial.seconds:.1f}"),
        column("origin", lambda trial: trial.origin),
        column("repeats", lambda trial: "" if trial.again is None else str(trial.again)),
        column("reason", lambda trial: trial.reason),
    ]
    _print_columns(columns)


def _rung_text(trial: TrialSummary) -> str:
    """The rung metric at the newest milestone; empty where trials are compared by the objective."""
    return f"{trial.metrics['rung']:.4g}" if "rung" in trial.metrics else ""


def _print_columns(columns: list[_Column]) -> None:
    shown = [col for col in columns if any(col.cells)]
    print_table(
        tuple(col.title for col in shown),
        list(zip(*(col.cells for col in shown), strict=True)),
    )


def _print_unseen(unseen: Standing) -> None:
    from align.evaluation.result_text import difference_text, figure_text, interval_text
    from sweeps.progress import evidence_lines

    measure = unseen.measure

    def column(title: str, cell: Any) -> _Column:
        return _Column(title, [cell(system) for system in unseen.systems])

    def to(side: str) -> _Column:
        gains = [getattr(system, f"against_{side}") for system in unseen.systems]
        cells = ["" if gain is None else difference_text(measure, gain) for gain in gains]
        return _Column(f"to {side}", cells)

    columns = [
        column("system", lambda system: system.name + " *" * (system.number == unseen.chosen)),
        column(
            measure,
            lambda system: (
                figure_text(measure, system.objective)
                + ("" if system.feasible else ", breaks a constraint")
            ),
        ),
        column("95 % interval", lambda system: interval_text(measure, system.low, system.high)),
        column("items", lambda system: str(system.items or unseen.items)),
        *map(to, ("default", "parent", "base")),
    ]
    typer.echo(f"on {unseen.items} unseen items ({unseen.split}), {measure}:")
    _print_columns(columns)
    for text in evidence_lines(unseen):
        typer.echo(text)


def _or_dash(value: int | None) -> str:
    return "–" if value is None else str(value)
