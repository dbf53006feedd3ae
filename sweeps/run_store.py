"""Rows of the `launches` table: what `alignery sweep run` was asked, and how it went."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import select

from align.recipe import Recipe
from align.recipe.rewards import PythonConfig
from cluster.database import Database
from cluster.database.tables import Launch, Sweep, now
from sweeps.errors import SweepError
from sweeps.sweep_store import FINISHED, RUNNING, file_digest, newest, not_found, sweeps

PAUSED, INTERRUPTED = "paused", "interrupted"
#: What another process may ask of a driver.
PAUSE, STOP = "pause", "stop"


class RunOptions(BaseModel):
    """How a launch runs. `needs` and `files` hold what it found when it began.

    `needs`: names in the recipe of what is not searched along, and the `line:version` each stood
    for. `files`: SHA-256 of each data file and each file of reward functions, by path.
    """

    fresh: bool = False
    promote: bool = False
    cpus_per_trial: int = 1
    max_concurrent: int | None = None
    accelerator: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    grow: bool = False
    needs: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class RunTarget:
    """What a name stands for: a recipe's newest launch, or a line's newest sweep and its launch."""

    launch: Launch | None
    row: Sweep | None = None


def create(
    database: Database,
    recipe: Recipe,
    stages: Sequence[str],
    options: RunOptions,
    job_id: str | None = None,
) -> Launch:
    """A new launch; it is `running` from now on."""
    with database.session() as session:
        launch = Launch(
            name=recipe.name,
            recipe=recipe.model_dump(mode="json"),
            stages=list(stages),
            options=options.model_dump(mode="json"),
            state=RUNNING,
            job_id=job_id,
        )
        session.add(launch)
        session.flush()
        return launch


def read(database: Database, identity: int) -> Launch:
    """A launch as it is now."""
    with database.session(write=False) as session:
        return session.get_one(Launch, identity)


def update(database: Database, identity: int, **fields: Any) -> Launch:
    """Set fields of a launch. One that is not running has an end, and is asked nothing any more."""
    with database.session() as session:
        launch = session.get_one(Launch, identity)
        for name, value in fields.items():
            setattr(launch, name, value)
        if launch.state == RUNNING:
            launch.ended_at = None
        else:
            launch.ended_at, launch.request = launch.ended_at or now(), ""
        return launch


def forget(database: Database, identity: int) -> None:
    """Delete a launch that came to nothing."""
    with database.session() as session:
        session.delete(session.get_one(Launch, identity))


def launches(database: Database, name: str | None = None) -> list[Launch]:
    """All launches, or those of a recipe, oldest first."""
    query = select(Launch).order_by(Launch.id)
    with database.session(write=False) as session:
        return list(session.scalars(query if name is None else query.filter_by(name=name)))


def find(database: Database, name: str | None = None) -> RunTarget:
    """What a recipe's name or a line stands for; without one, the newest launch, else sweep.

    SweepNotFound says what is near, and what there is.
    """
    if name is not None and "/" in name:
        row = newest_of(database, name)
        return RunTarget(None if row.launch_id is None else read(database, row.launch_id), row)
    if found := launches(database, name):
        return RunTarget(found[-1])
    if name is None:
        return RunTarget(None, newest(database))
    raise not_found(name, known(database))


def newest_of(database: Database, line: str) -> Sweep:
    """A line's newest sweep. SweepNotFound names recipes too, where there is no such line."""
    if found := sweeps(database, line):
        return found[-1]
    raise not_found(line, known(database))


def known(database: Database) -> set[str]:
    """Names that commands understand: of recipes and of lines."""
    lines = {row.line for row in sweeps(database)}
    return lines | {launch.name for launch in launches(database)}


def to_resume(database: Database, name: str | None = None) -> RunTarget:
    """What `name` stands for where a sweep is to go on.

    Of a recipe, or of all, the newest launch that did not finish and that no later one has taken
    the place of; where all have finished, the newest. SweepNotFound as `find` has it.
    """
    if name is not None and "/" in name:
        return find(database, name)
    newest_first = list(reversed(launches(database, name)))
    for index, one in enumerate(newest_first):
        later = (other for other in newest_first[:index] if other.name == one.name)
        replaced = any(set(one.stages) <= set(other.stages) for other in later)
        if one.state != FINISHED and not replaced:
            return RunTarget(one)
    return find(database, name)


def rows_of(database: Database, launch: Launch) -> list[Sweep]:
    """The newest sweep of each of a launch's stages that it began or took over, in their order."""
    newest_rows = {row.line: row for row in sweeps(database) if row.launch_id == launch.id}
    recipe = recipe_of(launch)
    lines = [recipe.line(stage) for stage in launch.stages]
    return [newest_rows[line] for line in lines if line in newest_rows]


def recipe_of(launch: Launch) -> Recipe:
    """The recipe that it was started with, resolved."""
    return Recipe.model_validate(launch.recipe)


def options_of(launch: Launch) -> RunOptions:
    """How it was started."""
    return RunOptions.model_validate(launch.options)


def with_needs(recipe: Recipe, needs: Mapping[str, str]) -> Recipe:
    """The recipe with what is not searched along named by version: an alias that moves, or a
    newer version, changes nothing about a launch that goes on."""
    pinned = recipe.model_copy(deep=True)
    for config in pinned.stages.values():
        config.parent = needs.get(config.parent or "", config.parent)
        config.reward_model = needs.get(config.reward_model or "", config.reward_model)
    return pinned


def files_of(recipe: Recipe, stages: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file that the results of these stages depend on, by path."""
    paths = [recipe.data_of(stage).path for stage in stages]
    for stage in stages:
        configs = recipe.rewards(stage).values()
        paths += [str(one.file) for one in configs if isinstance(one, PythonConfig)]
    digests = {path: file_digest(path) for path in paths if path is not None}
    return {path: digest for path, digest in digests.items() if digest is not None}


def check_files(launch: Launch) -> None:
    """SweepError if a file is no longer what it was when the launch began."""
    for path, digest in options_of(launch).files.items():
        now_there = file_digest(path)
        if now_there != digest:
            what = "is not there any more" if now_there is None else "has changed"
            raise SweepError(
                f"{path} {what} since this sweep of '{launch.name}' began, so its trials could not "
                "be compared with new ones; put the old file back, or start a new sweep with "
                "`alignery sweep run`"
            )


def choose(recipe: Recipe, only: Sequence[str] | None, start: str | None) -> list[str]:
    """The stages to search, each after those it needs.

    All of them; or `only` these; or `start` and all that build on it. SweepError if both are
    given, or a stage is unknown.
    """
    if only and start is not None:
        raise SweepError(
            f"--from {start} and --only {only[0]} contradict each other; give --from to search a "
            "stage and all that build on it, or --only, once for each stage"
        )
    for stage in [*(only or ()), *([start] if start is not None else ())]:
        if stage not in recipe.stages:
            near = difflib.get_close_matches(stage, recipe.stages, n=1)
            meant = f"did you mean '{near[0]}'? it has" if near else "it has"
            raise SweepError(
                f"recipe '{recipe.name}' has no stage '{stage}'; {meant} {', '.join(recipe.stages)}"
            )
    if start is not None:
        wanted = {start}
        for stage in recipe.order():  # parents first
            if wanted & set(recipe.needs(stage)):
                wanted.add(stage)
        return [stage for stage in recipe.order() if stage in wanted]
    return [stage for stage in recipe.order() if not only or stage in only]
