"""Prepares the resume of a launch: unchanged, with more trials, or with failed trials repeated."""

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
from sweeps.study.early_stops import stored_decision
from sweeps.study.storage import read_attributes, read_trials
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import FAILED, FINISHED, STOPPED


@dataclass(frozen=True)
class Change:
    """Changes of a resume: `trials` in total or `add` more, and if `failed` trials are repeated."""

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
    """What to search now. If `launch` is None, a new launch is created."""

    recipe: Recipe
    stages: list[str]
    options: RunOptions
    launch: Launch | None


def prepare(
    settings: Settings, database: Database, target: RunTarget, change: Change
) -> Resumed | None:
    """What is to be searched; None if the launch has finished and the change adds no trials.

    For a recipe, its whole launch is resumed. For a line without a change, its launch is resumed;
    with a change, only that stage is searched again, on the same adapters as before.
    """
    launch = target.launch
    assert launch is not None
    recipe, options = run_store.recipe_of(launch), run_store.options_of(launch)
    stages = list(launch.stages) if target.row is None or not change else [target.row.stage]
    if not change:
        return Resumed(recipe, stages, options, launch)
    rows = {row.stage: row for row in run_store.rows_of(database, launch) if row.stage in stages}
    trial_counts = {
        stage: _wanted(settings, recipe, stage, rows.get(stage), change) for stage in stages
    }
    repeated = 0
    if change.failed:
        repeated = sum(_again(settings, database, recipe, row) for row in rows.values())
    more_trials = any(count > current for count, current in trial_counts.values())
    if launch.state == FINISHED and not repeated and not more_trials:
        return None
    recipe = run_store.with_trials(
        recipe, {stage: count for stage, (count, _) in trial_counts.items()}
    )
    if change.trials is not None or change.add is not None:
        for stage, row in rows.items():
            _ask_for(settings, database, recipe, row, trial_counts[stage][0])
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
    """The stages that build directly on one of `stages` and are not among them."""
    return [
        stage
        for stage in recipe.order()
        if stage not in stages and set(recipe.needs(stage)) & set(stages)
    ]


def _wanted(
    settings: Settings, recipe: Recipe, stage: str, row: Sweep | None, change: Change
) -> tuple[int, int]:
    """(trials that the stage should have, trials that it has or was meant to have)."""
    trials = [] if row is None else read_trials(settings, row.study)
    own_trials = sum(trial.again is None and trial.state != "WAITING" for trial in trials)
    config = recipe.stages[stage].sweep
    current = max(config.trials, own_trials)
    if row is not None and stored_decision(read_attributes(settings, row.study), config):
        current = own_trials  # `sweep.stop_when` has begun no further trial
    if change.trials is not None:
        return change.trials, current
    return current + (change.add or 0), current


def _again(settings: Settings, database: Database, recipe: Recipe, row: Sweep) -> int:
    """Queue the row's failed trials once more; returns how many."""
    with StudySession(settings, database, row.study, recipe.stages[row.stage]) as session:
        count = session.again()
    if count and row.state == FAILED:
        sweep_store.update(database, row.id, state=STOPPED)  # a failed sweep would not be continued
    return count


def _ask_for(
    settings: Settings, database: Database, recipe: Recipe, row: Sweep, trials: int
) -> None:
    """Let a search with `sweep.stop_when` go on to so many trials, whatever their expected gain."""
    config = recipe.stages[row.stage]
    if config.sweep.stop_when is not None:
        with StudySession(settings, database, row.study, config) as session:
            session.stop_when.ask_for(trials)


def _needs(registry: Registry, recipe: Recipe, row: Sweep) -> dict[str, str]:
    """The adapter versions that a sweep was built on, by the names that its recipe has for them."""
    config, versions = recipe.stages[row.stage], registry.versions()
    names = {version.adapter_id: version.name for version in versions}
    used = ((config.parent, row.parent_id), (config.reward_model, row.reward_model_id))
    return {name: names[identity] for name, identity in used if name and identity}
