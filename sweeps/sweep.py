"""One sweep over one stage, on given adapters."""

from __future__ import annotations

from align.recipe import Recipe
from align.recipe.model import is_reference
from cluster.database import open_database
from cluster.database.tables import Sweep
from cluster.registry import AdapterVersion
from cluster.settings import Settings
from sweeps.dependencies import check_adapter, check_rank, check_same_weights
from sweeps.driver import Driver
from sweeps.errors import SweepError
from sweeps.events import OnEvent, ignore
from sweeps.open_sweep import OpenSweep
from sweeps.pipeline import Needs, search
from sweeps.pool.placement import Placement, make_placement
from sweeps.pool.stage_job import TRIAL, StageJob, portable
from sweeps.results.sweep_result import SweepResult
from sweeps.run_store import choose, recipe_of

__all__ = ["SweepResult", "finish_without_workers", "run_sweep"]


def run_sweep(
    settings: Settings,
    recipe: Recipe,
    stage: str,
    parent: AdapterVersion | None = None,
    reward_model: AdapterVersion | None = None,
    *,
    fresh: bool = False,
    on_event: OnEvent | None = None,
    placement: Placement | None = None,
    cpus_per_trial: int = 1,
    max_concurrent: int | None = None,
    factory: str = TRIAL,
) -> SweepResult:
    """Search `stage`, on the Ray that this process is connected to, and register the best trial.

    A sweep of the same recipe, data, seed, parent and reward model is continued if it was
    interrupted or should have more trials now, and returned unchanged if it has finished; `fresh`
    starts another run. SweepLocked if another process drives it; SweepError if no trial was
    completed. An AligneryError of a trial before any was measured is raised: it would hit all.
    """
    _check(recipe, stage, parent, reward_model)
    results = search(
        settings,
        recipe,
        [stage],
        lambda _stage: Needs(parent, reward_model),
        fresh=fresh,
        on_event=on_event,
        placement=placement
        or make_placement(settings, recipe, [stage], cpus_per_trial, max_concurrent=max_concurrent),
        factory=factory,
    )
    return results[stage]


def finish_without_workers(settings: Settings, row: Sweep) -> SweepResult | None:
    """Stop a sweep that no process drives, and register the best of its complete trials.

    None if it has no complete trial; it can be continued then. The best is chosen on validation
    items, unless finalists were measured already. SweepLocked if a process drives the sweep.
    """
    recipe = recipe_of(row)
    job = StageJob(
        settings=portable(settings),
        recipe=recipe,
        stage=row.stage,
        study=row.study,
        parent_id=row.parent_id,
        reward_model_id=row.reward_model_id,
    )
    database = open_database(settings)
    try:
        driver = Driver(settings, database, ignore, lambda _stage: 0)
        return OpenSweep(driver, job, row).finish_without_workers()
    finally:
        database.close()


def _check(
    recipe: Recipe, stage: str, parent: AdapterVersion | None, reward_model: AdapterVersion | None
) -> None:
    choose(recipe, [stage])
    config = recipe.stages[stage]
    for field, adapter in (("parent", parent), ("reward_model", reward_model)):
        needed = getattr(config, field)
        if (needed is None) != (adapter is None):
            kind = "adapter" if is_reference(needed) else "an adapter of stage"
            expected = f"{kind} '{needed}'" if needed else "none"
            got = adapter.name if adapter else "none"
            raise SweepError(f"stage '{stage}' takes {expected} as its {field}; got {got}")
        if adapter is not None:
            check_adapter(recipe, stage, field, adapter)
    if parent is not None:
        check_rank(recipe, [stage], parent)
    if parent is not None and reward_model is not None:
        check_same_weights(recipe, parent, reward_model)
