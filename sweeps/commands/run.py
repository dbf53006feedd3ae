"""`alignery sweep run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from align.console_tables import print_parts
from align.json_output import print_json
from sweeps.commands.common import JsonOption, RecipeArgument, plain_sweep, sweep_app
from sweeps.commands.search_options import with_search_options
from sweeps.search_options import SearchOptions

if TYPE_CHECKING:
    from cluster.database import Database
    from cluster.database.tables import Launch
    from cluster.settings import Settings
    from sweeps.results.sweep_result import SweepResult
    from sweeps.run_store import RunOptions
    from sweeps.runner import RunInputs


@sweep_app.command()
@with_search_options
def run(
    recipe: RecipeArgument,
    options: SearchOptions,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and what it would cost; run nothing.")
    ] = False,
    gpus: Annotated[
        int | None,
        typer.Option(
            min=1, help="GPUs of the --accelerator to plan with, where no cluster is connected."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search a recipe's stages and register the best trial of each.

    An interrupted sweep goes on where it stopped. A finished one is returned
    as it is, as long as recipe, data and parents are the same; more --trials
    continue it.
    """
    from align.recipe import load_recipe
    from cluster.database import open_database
    from cluster.settings import Settings
    from sweeps import run_store
    from sweeps.errors import SweepError
    from sweeps.runner import new_inputs

    if gpus is not None and not dry_run:
        raise SweepError("--gpus is for the plan: give --dry-run too")
    if gpus is not None and options.accelerator is None:
        raise SweepError("--gpus: which ones? give --accelerator too, for example T4")
    recorded, loaded, settings = _recorded(options), load_recipe(recipe), Settings()
    stages = run_store.choose(loaded, options.only, options.from_)
    if options.trials is not None:
        loaded = run_store.with_trials(loaded, dict.fromkeys(stages, options.trials))
    inputs = new_inputs(settings, loaded, stages, recorded)
    if dry_run:
        _show_plan(settings, inputs, gpus, as_json)
        return
    drive(settings, open_database(settings), inputs, as_json=as_json)


def drive(
    settings: Settings,
    database: Database,
    inputs: RunInputs,
    launch: Launch | None = None,
    as_json: bool = False,
) -> None:
    """Search the stages of `inputs` and print the results; creates a launch if `launch` is None."""
    from sweeps.progress import Progress
    from sweeps.runner import drive_launch

    recipe, stages = inputs.recipe, inputs.stages
    planned = {stage: recipe.steps(stage) * recipe.stages[stage].sweep.trials for stage in stages}
    with Progress(planned=planned) as progress:
        launch, results = drive_launch(settings, database, inputs, launch, on_event=progress)
    if as_json:
        tell(settings, database, launch)
    else:
        for result in results.values():
            typer.echo(_sentence(result))
    _tell_stopped(launch, stages, list(results))


def tell(settings: Settings, database: Database, launch: Launch) -> None:
    """Print the sweeps of a launch as JSON, by stage."""
    from sweeps.run_store import rows_of

    rows = rows_of(database, launch)
    print_json({row.stage: plain_sweep(settings, database, row) for row in rows})


def _show_plan(settings: Settings, inputs: RunInputs, gpus: int | None, as_json: bool) -> None:
    from cluster.ray import ray_session
    from sweeps.planning.plan import plan_pipeline
    from sweeps.runner import placement_of

    recipe, stages, options = inputs.recipe, inputs.stages, inputs.options
    if settings.ray_address is None and options.accelerator is not None:
        plan = plan_pipeline(  # for machines that are not connected
            settings,
            recipe,
            stages,
            price=options.price,
            accelerator=options.accelerator,
            gpus=gpus or 1,
            cpus_per_trial=options.cpus_per_trial,
            max_concurrent=options.max_concurrent,
        )
    else:
        with ray_session(settings):
            placement = placement_of(settings, recipe, stages, options)
            plan = plan_pipeline(settings, recipe, stages, placement, options.price)
    if as_json:
        print_json(plan.plain())
    else:
        print_parts(*plan.table())
        for stage, remarks in options.remarks.items():
            for remark in remarks:
                typer.echo(f"{stage}: {remark}")
        for stage, change in _changes(settings, inputs).items():
            typer.echo(f"{stage}: {change}")


def _changes(settings: Settings, inputs: RunInputs) -> dict[str, str]:
    """What the stages differ in from their lines' earlier searches, where that is known.

    Of a stage whose parent is still to be searched it is not.
    """
    from cluster.database import open_database
    from sweeps.recipe_changes import explain
    from sweeps.sweep_store import Search, same_search, sweeps

    database, changes = open_database(settings), {}
    try:
        for stage in inputs.stages:
            config, adapters = inputs.local.stages[stage], inputs.outside
            names = config.parent, config.reward_model
            if inputs.options.fresh or any(name and name not in adapters for name in names):
                continue
            ids = (adapters[name].adapter_id if name else None for name in names)
            search = Search(inputs.local, stage, *ids)
            row = same_search(database, search)
            if change := explain(search, row, sweeps(database, search.line)):
                changes[stage] = change
    finally:
        database.close()
    return changes


def _recorded(options: SearchOptions) -> RunOptions:
    """The options as the launch stores them, except recipe and stages."""
    from sweeps.run_store import RunOptions

    return RunOptions(
        fresh=options.fresh,
        promote=options.promote,
        cpus_per_trial=options.cpus_per_trial,
        max_concurrent=options.max_concurrent,
        accelerator=options.accelerator,
        labels=_labels(options.label or []),
        grow=options.grow,
        price=options.price,
    )


def _labels(texts: list[str]) -> dict[str, str]:
    from sweeps.errors import SweepError

    labels = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise SweepError(
                f"--label {text}: expected key=value, e.g. ray.io/market-type=spot; "
                "`ray status -v` shows what the nodes are labelled"
            )
        labels[name] = value
    return labels


def _tell_stopped(launch: Launch, stages: list[str], searched: list[str]) -> None:
    remaining = [stage for stage in stages if stage not in searched]
    if launch.state == "stopped":
        without = f", without {', '.join(remaining)}" if remaining else ""
        typer.echo(
            f"stopped on request{without}; `alignery sweep resume {launch.name}` goes on", err=True
        )


def _sentence(result: SweepResult) -> str:
    return (
        f"{result.version.name}: trial {result.best.number} of {len(result.trials)}, "
        f"objective {result.best.objective:.4g}, {result.pruned} pruned, {result.failed} failed, "
        f"{result.seconds:.0f} s"
    )
