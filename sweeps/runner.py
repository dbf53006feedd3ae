"""Runs a launch: resolves its inputs once, and searches on a local Ray of its own or a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from align.data.row_findings import RowAccount
from align.errors import AligneryError
from align.preflight import check_inputs
from align.recipe import Recipe
from cluster.database import Database
from cluster.database.tables import Launch
from cluster.jobs import own_job_id
from cluster.pool import Node, read_pool
from cluster.ray import ray_session
from cluster.registry import AdapterVersion, open_registry
from cluster.settings import Settings
from cluster.storage import Storage
from sweeps import run_store
from sweeps.control import driving, noting
from sweeps.dependencies import find_needs
from sweeps.events import Event, OnEvent, StageStarted
from sweeps.pipeline import run_pipeline
from sweeps.pool.placement import Placement, make_placement
from sweeps.pool.shipping import localise
from sweeps.pool.worker_preflight import check_workers
from sweeps.results.sweep_result import SweepResult
from sweeps.run_store import RunOptions


@dataclass(frozen=True)
class RunInputs:
    """The recipe that a run searches, with its files and the adapters that it builds on.

    `recipe` is what the launch stores: its files may be in storage, where a resume on another
    machine finds them. `local` is the same with files of this machine and with the versions of
    adapters. `outside` has the adapters that `stages` need and do not train, by their name in
    `local`.
    """

    recipe: Recipe
    stages: list[str]
    options: RunOptions
    local: Recipe
    outside: Mapping[str, AdapterVersion]


def new_inputs(
    settings: Settings, recipe: Recipe, stages: Sequence[str], options: RunOptions
) -> RunInputs:
    """The inputs of a new launch; its options record adapters, digests of files, and the rows.

    AligneryError if local data or rewards cannot be used, or an adapter is missing or does not fit.
    """
    local = localise(recipe, Storage(settings))
    accounts = _checked(settings, local, stages)
    outside = find_needs(open_registry(settings), recipe, stages)
    needs = {name: version.name for name, version in outside.items()}
    files = run_store.files_of(local, stages)
    remarks = {stage: account.lines() for stage, account in accounts.items()}
    return RunInputs(
        recipe,
        list(stages),
        options.model_copy(update={"needs": needs, "files": files, "remarks": remarks}),
        run_store.with_needs(local, needs),
        {version.name: version for version in outside.values()},
    )


def _checked(settings: Settings, local: Recipe, stages: Sequence[str]) -> dict[str, RowAccount]:
    """The accounts of the stages' rows; errors as of `check_inputs`, unless a cluster is connected.

    A cluster's machines may see other files. Their account is then of what this machine sees, if
    that can be used.
    """
    if settings.ray_address is None:
        return check_inputs(local, stages)
    with suppress(AligneryError):
        return check_inputs(local, stages, hub=False)
    return {}


def recorded_inputs(
    settings: Settings, recipe: Recipe, stages: Sequence[str], options: RunOptions
) -> RunInputs:
    """The inputs of a launch whose adapters `options` record; errors as of `new_inputs`."""
    local = run_store.with_needs(localise(recipe, Storage(settings)), options.needs)
    outside = find_needs(open_registry(settings), local, stages)
    return RunInputs(recipe, list(stages), options, local, outside)


def drive_launch(
    settings: Settings,
    database: Database,
    inputs: RunInputs,
    launch: Launch | None = None,
    *,
    on_event: OnEvent,
) -> tuple[Launch, dict[str, SweepResult]]:
    """Search the stages of `inputs`, continuing `launch` or creating a launch if None.

    Returns the launch's final row and the results by stage.

    Pool, database and storage are checked before a launch is created. Raises what `run_pipeline`
    raises.
    """
    recipe, stages, options = inputs.recipe, inputs.stages, inputs.options
    with driving(settings, database) as begin, ray_session(settings):
        placement = placement_of(settings, recipe, stages, options)
        check_workers(settings, placement, recipe)
        if options.price is not None:
            rates = usd_per_hour(placement, stages, options.price, read_pool())
            options = options.model_copy(update={"usd_per_hour": rates})
        if launch is None:
            launch = run_store.create(database, recipe, stages, options, own_job_id())
        control = begin(launch)
        results = run_pipeline(
            settings,
            inputs.local,
            stages,
            outside=inputs.outside,
            sent=run_store.with_needs(recipe, options.needs),
            fresh=options.fresh,
            promote=options.promote,
            on_event=noting(database, launch.id, _priced(on_event, options.usd_per_hour)),
            placement=placement,
            control=control,
        )
    return run_store.read(database, launch.id), results


def usd_per_hour(
    placement: Placement, stages: Sequence[str], price: float, nodes: Sequence[Node]
) -> dict[str, float]:
    """What an hour of a trial costs by stage, where a GPU, or a machine without any, costs `price`.

    A trial pays its share of a GPU, or without GPUs its share of the machine.
    """
    rates = {}
    for stage in stages:
        on_machine = max([1, *(placement.holds(stage, node) for node in nodes)])
        at_once = min(on_machine, placement.max_concurrent or on_machine)
        rates[stage] = price * (placement.gpus.get(stage) or 1 / at_once)
    return rates


def _priced(on_event: OnEvent, usd_per_hour: Mapping[str, float]) -> OnEvent:
    """Wrap `on_event` so that a stage's start says what an hour of a trial costs."""

    def heard(event: Event) -> None:
        if isinstance(event, StageStarted):
            event = replace(event, usd_per_hour=usd_per_hour.get(event.stage))
        on_event(event)

    return heard


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
