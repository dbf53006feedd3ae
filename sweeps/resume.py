"""What goes on when a launch is resumed: as it was, with more trials, or with failed ones again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from align.recipe import Recipe
from cluster.database import Database
from cluster.database.tables import Launch, Sweep
from cluster.registry import Registry, open_registry
from cluster.settings import Settings
from sweeps import run_store, sweep_store
from sweeps.errors import SweepError
from sweeps.run_store import RunOptions, RunTarget
from sweeps.study.storage import read_trials
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import FAILED, FINISHED, STOPPED


@dataclass(frozen=True)
class Change:
    """What is to be different: `trials` in all or `add` more of them, and `failed` ones again."""

    trials: int | None = None
    add: int | None = None
    failed: bool = False

    def __post_init__(self) -> None:
        if self.add is not None and self.trials is not None:
            raise SweepError("--add and --trials contradict each other; give one of them")

    def __bool__(self) -> bool:
        return self.trials is not None or self.add is not None or self.failed


@dataclass(frozen=True)
class Resumed:
    """What to search now. Without a `launch` it is a new one."""

    recipe: Recipe
    stages: list[str]
    options: RunOptions
    launch: Launch | None


def prepare(
    settings: Settings, database: Database, target: RunTarget, change: Change
) -> Resumed | None:
    """What is to be searched; None where there is nothing that the change would add.

    A recipe goes on as a whole. A line without a change stands for its launch; with one, that
    stage alone is searched again, on the adapters that it was searched on.
    """
    launch = target.launch
    assert launch is not None
    recipe, options = run_store.recipe_of(launch), run_store.options_of(launch)
    stages = list(launch.stages) if target.row is None or not change else [target.row.stage]
    if not change:
        return Resumed(recipe, stages, options, launch)
    rows = {row.stage: row for row in run_store.rows_of(database, launch) if row.stage in stages}
    wanted = {stage: _wanted(settings, recipe, stage, rows.get(stage), change) for stage in stages}
    repeated = 0
    if change.failed:
        repeated = sum(_again(settings, database, recipe, row) for row in rows.values())
    grows = any(new > have for new, have in wanted.values())
    if launch.state == FINISHED and not repeated and not grows:
        return None
    for stage, (new, _) in wanted.items():
        recipe.stages[stage].sweep.trials = new
    if target.row is None:
        content = recipe.model_dump(mode="json")
        return Resumed(
            recipe, stages, options, run_store.update(database, launch.id, recipe=content)
        )
    needs = options.needs | _needs(open_registry(settings), recipe, target.row)
    return Resumed(
        recipe, stages, options.model_copy(update={"fresh": False, "needs": needs}), None
    )


def builds_on(recipe: Recipe, stages: Sequence[str]) -> list[str]:
    """The stages, not among these, that build directly on one of them."""
    return [
        one for one in recipe.order() if one not in stages and set(recipe.needs(one)) & set(stages)
    ]


def _wanted(
    settings: Settings, recipe: Recipe, stage: str, row: Sweep | None, change: Change
) -> tuple[int, int]:
    """(trials that the stage is to have, trials that it has or was to have)."""
    begun = [] if row is None else read_trials(settings, row.study)
    own = sum(one.again is None and one.state != "WAITING" for one in begun)
    have = max(recipe.stages[stage].sweep.trials, own)
    if change.trials is not None:
        return change.trials, have
    return have + (change.add or 0), have


def _again(settings: Settings, database: Database, recipe: Recipe, row: Sweep) -> int:
    """Queue the row's failed trials once more; how many."""
    with StudySession(settings, database, row.study, recipe.stages[row.stage]) as bridge:
        count = bridge.again()
    if count and row.state == FAILED:
        sweep_store.update(database, row.id, state=STOPPED)  # what has failed is not gone on with
    return count


def _needs(registry: Registry, recipe: Recipe, row: Sweep) -> dict[str, str]:
    """The versions that a sweep built on, by the names that its recipe has for them."""
    config, versions = recipe.stages[row.stage], registry.versions()
    names = {one.adapter_id: one.name for one in versions}
    used = ((config.parent, row.parent_id), (config.reward_model, row.reward_model_id))
    return {name: names[identity] for name, identity in used if name and identity}
