"""Rows of the `launches` table: the arguments, state and outcome of `alignery sweep run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import select

from align.recipe import Recipe, parse_recipe
from align.recipe.load import error_line
from align.rewards.functions import PythonConfig
from align.suggestions import did_you_mean
from cluster.database import Database
from cluster.database.tables import Launch, Sweep, now
from sweeps.errors import SweepError
from sweeps.sweep_store import FINISHED, RUNNING, file_digest, newest, not_found, sweeps

PAUSED, INTERRUPTED = "paused", "interrupted"
#: Requests that another process may make to a driver.
PAUSE, STOP = "pause", "stop"


class RunOptions(BaseModel):
    """How a launch runs. `needs` and `files` record the inputs when it began.

    `needs`: the recipe's names of adapters from outside the launch, and the `line:version` that
    each resolved to. `files`: SHA-256 of each data file and file of reward functions, by path.
    `remarks`: by stage, what was said of its rows at the beginning, and what its workers warned of.
    `price`: USD for an hour of a GPU, or of a machine without any. `usd_per_hour`: by stage, the
    part of it that a trial takes.
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
    remarks: dict[str, list[str]] = Field(default_factory=dict)
    price: float | None = None
    usd_per_hour: dict[str, float] = Field(default_factory=dict)


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
    """Insert a new launch with state `running`."""
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
    """The current row of a launch."""
    with database.session(write=False) as session:
        return session.get_one(Launch, identity)


def update(database: Database, identity: int, **fields: Any) -> Launch:
    """Set fields of a launch. Unless it is running, also set `ended_at` and clear its request."""
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
    """Delete the row of a launch that never ran."""
    with database.session() as session:
        session.delete(session.get_one(Launch, identity))


def launches(database: Database, name: str | None = None) -> list[Launch]:
    """All launches, or those of a recipe, oldest first."""
    query = select(Launch).order_by(Launch.id)
    with database.session(write=False) as session:
        return list(session.scalars(query if name is None else query.filter_by(name=name)))


def find(database: Database, name: str | None = None) -> RunTarget:
    """What a recipe's name or a line resolves to; without a name, the newest launch, else sweep.

    SweepNotFound suggests a similar name and lists the existing names.
    """
    if name is not None and "/" in name:
        row = newest_of(database, name)
        return RunTarget(None if row.launch_id is None else read(database, row.launch_id), row)
    if matches := launches(database, name):
        return RunTarget(matches[-1])
    if name is None:
        return RunTarget(None, newest(database))
    raise not_found(name, known(database))


def newest_of(database: Database, line: str) -> Sweep:
    """A line's newest sweep. SweepNotFound lists lines and recipes if there is no such line."""
    if rows := sweeps(database, line):
        return rows[-1]
    raise not_found(line, known(database))


def known(database: Database) -> set[str]:
    """Names that commands accept: of recipes and of lines."""
    lines = {row.line for row in sweeps(database)}
    return lines | {launch.name for launch in launches(database)}


def to_resume(database: Database, name: str | None = None) -> RunTarget:
    """What `name` resolves to when a sweep is to be resumed.

    For a recipe, or without a name: the newest launch that did not finish and that no later launch
    of the same stages replaced; if all have finished, the newest. SweepNotFound as in `find`.
    """
    if name is not None and "/" in name:
        return find(database, name)
    newest_first = list(reversed(launches(database, name)))
    for index, launch in enumerate(newest_first):
        later = (other for other in newest_first[:index] if other.name == launch.name)
        replaced = any(set(launch.stages) <= set(other.stages) for other in later)
        if launch.state != FINISHED and not replaced:
            return RunTarget(launch)
    return find(database, name)


def rows_of(database: Database, launch: Launch) -> list[Sweep]:
    """The newest sweeps of a launch's stages that it began or took over, in the stages' order."""
    newest_rows = {row.line: row for row in sweeps(database) if row.launch_id == launch.id}
    lines = [f"{launch.name}/{stage}" for stage in launch.stages]
    return [newest_rows[line] for line in lines if line in newest_rows]


def recipe_of(row: Launch | Sweep) -> Recipe:
    """The resolved recipe that the launch or the sweep was started with.

    SweepError if it is of another version that wrote what this version does not accept.
    """
    try:
        return Recipe.model_validate(row.recipe)
    except ValidationError as error:
        name = row.line if isinstance(row, Sweep) else row.name
        first, *others = error.errors()
        more = f" (and {len(others)} more)" if others else ""
        raise SweepError(
            f"the recipe that {name} was searched with is of another version of Alignery, and this "
            f"one does not read it: {error_line(first)}{more}. Go on with the version that wrote "
            f"it; `alignery sweep status {name} --json` prints its trials here"
        ) from None


def options_of(launch: Launch) -> RunOptions:
    """The options that the launch was started with."""
    return RunOptions.model_validate(launch.options)


def remarks_on(database: Database, row: Sweep) -> list[str]:
    """What the newest launch of a sweep has said of the stage's rows and workers."""
    if row.launch_id is None:
        return []
    return options_of(read(database, row.launch_id)).remarks.get(row.stage, [])


def trial_price(database: Database, row: Sweep) -> float | None:
    """USD for an hour of a trial of a sweep; None if its newest launch was given no price."""
    if row.launch_id is None:
        return None
    usd: float | None = read(database, row.launch_id).options.get("usd_per_hour", {}).get(row.stage)
    return usd


def add_remark(database: Database, identity: int, stage: str, text: str) -> bool:
    """Add a remark on a stage to a launch; False if it is there already."""
    options = options_of(read(database, identity))
    remarks = options.remarks.setdefault(stage, [])
    if text in remarks:
        return False
    remarks.append(text)
    update(database, identity, options=options.model_dump(mode="json"))
    return True


def with_needs(recipe: Recipe, needs: Mapping[str, str]) -> Recipe:
    """The recipe with adapters from outside the launch pinned to versions.

    So a moved alias or a newer version does not change a launch that is resumed.
    """
    pinned = recipe.model_copy(deep=True)
    for config in pinned.stages.values():
        config.parent = needs.get(config.parent or "", config.parent)
        config.reward_model = needs.get(config.reward_model or "", config.reward_model)
    return pinned


def with_trials(recipe: Recipe, trials: Mapping[str, int]) -> Recipe:
    """A copy of the recipe with other numbers of trials, by stage.

    RecipeError if a stage's other fields, such as its points, do not allow that number.
    """
    changed = recipe.model_copy(deep=True)
    for stage, number in trials.items():
        changed.stages[stage].sweep.trials = number
    parse_recipe(changed.model_dump(mode="json"), f"recipe '{recipe.name}' with other trials")
    return changed


def files_of(recipe: Recipe, stages: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file that the results of `stages` depend on, by path."""
    paths = [recipe.data_of(stage).path for stage in stages]
    for stage in stages:
        configs = recipe.rewards(stage).values()
        paths += [str(reward.file) for reward in configs if isinstance(reward, PythonConfig)]
    digests = {path: file_digest(path) for path in paths if path is not None}
    return {path: digest for path, digest in digests.items() if digest is not None}


def check_files(launch: Launch) -> None:
    """SweepError if a file has changed or is missing since the launch began."""
    for path, digest in options_of(launch).files.items():
        current = file_digest(path)
        if current != digest:
            change = "is not there any more" if current is None else "has changed"
            raise SweepError(
                f"{path} {change} since this sweep of '{launch.name}' began, so its trials could "
                "not be compared with new ones; put the old file back, or start a new sweep with "
                "`alignery sweep run`"
            )


def choose(recipe: Recipe, only: Sequence[str] | None, start: str | None = None) -> list[str]:
    """The stages to search, each after its dependencies.

    All stages; or those of `only`; or `start` and all that build on it. SweepError if both `only`
    and `start` are given, or a stage is unknown.
    """
    if only and start is not None:
        raise SweepError(
            f"--from {start} and --only {only[0]} contradict each other; give --from to search a "
            "stage and all that build on it, or --only, once for each stage"
        )
    for stage in [*(only or ()), *([start] if start is not None else ())]:
        if stage not in recipe.stages:
            hint = did_you_mean(stage, recipe.stages, after=" ") + "it has"
            raise SweepError(
                f"recipe '{recipe.name}' has no stage '{stage}'; {hint} {', '.join(recipe.stages)}"
            )
    if start is not None:
        included = {start}
        for stage in recipe.order():  # parents first
            if included & set(recipe.needs(stage)):
                included.add(stage)
        return [stage for stage in recipe.order() if stage in included]
    return [stage for stage in recipe.order() if not only or stage in only]
