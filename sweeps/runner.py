"""Runs one launch to its end, on a local Ray of its own or on an existing cluster."""

from __future__ import annotations

from align.recipe import Recipe
from cluster.database import Database
from cluster.database.tables import Launch
from cluster.jobs import own_job_id
from cluster.ray import ray_session
from cluster.settings import Settings
from cluster.storage import Storage
from sweeps import run_store
from sweeps.control import driving, noting
from sweeps.events import OnEvent
from sweeps.pipeline import run_pipeline
from sweeps.pool.placement import Placement, make_placement
from sweeps.pool.shipping import localise
from sweeps.pool.worker_preflight import check_workers
from sweeps.results.sweep_result import SweepResult
from sweeps.run_store import RunOptions


def drive_launch(
    settings: Settings,
    database: Database,
    recipe: Recipe,
    stages: list[str],
    options: RunOptions,
    launch: Launch | None = None,
    *,
    on_event: OnEvent,
) -> tuple[Launch, dict[str, SweepResult]]:
    """Search `stages`, continuing `launch` or creating one; returns its final row and the results.

    Pool, database and storage are checked before a launch is created. Raises what `run_pipeline`
    raises.
    """
    with driving(settings, database) as begin, ray_session(settings):
        placement = placement_of(settings, recipe, stages, options)
        check_workers(settings, placement, recipe)
        if launch is None:
            launch = run_store.create(database, recipe, stages, options, own_job_id())
        control = begin(launch)
        results = run_pipeline(
            settings,
            run_store.with_needs(localise(recipe, Storage(settings)), options.needs),
            stages,
            fresh=options.fresh,
            promote=options.promote,
            on_event=noting(database, launch.id, on_event),
            placement=placement,
            control=control,
        )
    return run_store.read(database, launch.id), results


def placement_of(
    settings: Settings, recipe: Recipe, stages: list[str], options: RunOptions
) -> Placement:
    """The placement of the trials of `stages` by the options. SweepError if they fit nowhere."""
    return make_placement(
        settings,
        recipe,
        stages,
        options.cpus_per_trial,
        options.accelerator,
        options.labels,
        options.max_concurrent,
        options.grow,
    )
