"""`alignery sweep run`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps.commands.common import JsonOption, print_json, sweep_app

if TYPE_CHECKING:
    from align.recipe import Recipe
    from sweeps.sweep import SweepResult


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
    as_json: JsonOption = False,
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
        print_json({name: _result(one) for name, one in results.items()})
    else:
        for one in results.values():
            typer.echo(_sentence(one))


def _with_trials(recipe: Recipe, stages: list[str], trials: int) -> Recipe:
    changed = recipe.model_copy(deep=True)
    for stage in stages:
        changed.stages[stage].sweep.trials = trials
    return changed


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
