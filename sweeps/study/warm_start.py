"""Warm start: what a new search takes from an earlier one, its trials or only its best points.

A trial of the earlier search counts as a trial of the new search if the new recipe could resolve to
the same stage and all else that affects the result is equal. The sampler learns from such trials.
If anything else differs (data, base, parent, objective, …), the objectives cannot be compared, and
only the best points are tried again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select

from align.recipe import Recipe, StageConfig
from align.rewards.functions import PythonConfig
from align.space.spaces import Value, scalar
from cluster.database import Database
from cluster.database.tables import Sweep
from cluster.settings import Settings
from sweeps.errors import SweepError
from sweeps.study.options import near
from sweeps.study.storage import read_trials
from sweeps.sweep_store import Search
from sweeps.trials import TrialSummary, ranked

_FIELD = "sweep.warm_start"
_RUN = re.compile(r"(?P<line>.+):(?P<run>\d+)")

#: How many points are tried if the objectives of the earlier search cannot be compared.
POINTS = 3


@dataclass(frozen=True)
class Lesson:
    """What a warm start takes from the study `source`: trials unchanged, or points to be tried."""

    source: str
    note: str
    trials: tuple[dict[str, Any], ...] = ()  # number, params, objective, violation
    points: tuple[dict[str, Value], ...] = ()

    def plain(self) -> dict[str, Any]:
        """As a plain dictionary, for JSON."""
        return asdict(self)


def lesson(settings: Settings, database: Database, study: str, stage: StageConfig) -> Lesson:
    """What `stage`, searched as `study`, takes from the search that `sweep.warm_start` names.

    SweepError if there is no such search, or nothing complete in it.
    """
    rows = earlier_searches(database)
    source, trials = _source(settings, rows, str(stage.sweep.warm_start), study)
    own = next((row for row in rows if row.study == study), None)
    earlier = stored_recipe(source)
    name = f"{source.line}:{source.run}"
    difference = "this search has no row" if own is None else _difference(source, earlier, own)
    if earlier is not None and not difference:
        same_trials, difference = _same_trials(earlier.stages[source.stage], stage, trials)
        if same_trials:
            complete = sum(trial.state == "COMPLETE" for trial in trials)
            note = (
                f"warm start: the sampler knows {len(same_trials)} of {complete} trials of {name}"
            )
            return Lesson(source.study, note, trials=same_trials)
    points = _best_points(earlier, source, stage, trials)
    note = (
        f"warm start: {name} measured something else ({difference}): its trials teach nothing, "
        f"{len(points)} of its best points are tried again"
    )
    return Lesson(source.study, note, points=points)


def _source(
    settings: Settings, rows: list[Sweep], name: str, study: str
) -> tuple[Sweep, list[TrialSummary]]:
    """The row that a recipe's `warm_start` names, with its trials.

    `name` is a study, `line:run`, or a line, which stands for its newest search with a complete
    trial.
    """
    other_rows = [row for row in rows if row.study != study]
    run_match = _RUN.fullmatch(name)
    matches = [
        row
        for row in other_rows
        if name in (row.study, row.line)
        or (run_match and row.line == run_match["line"] and row.run == int(run_match["run"]))
    ]
    if not matches:
        names = [f"{row.line}:{row.run}" for row in other_rows]
        hint = f"there are {', '.join(names[-20:])}" if names else "nothing was searched yet"
        raise SweepError(f"{_FIELD}: no earlier search '{name}'{near(name, names)}; {hint}")
    for row in reversed(matches):
        trials = read_trials(settings, row.study)
        if any(trial.state == "COMPLETE" for trial in trials):
            return row, trials
    raise SweepError(f"{_FIELD}: no trial of '{name}' is complete; let it run, or name another")


def earlier_searches(database: Database) -> list[Sweep]:
    with database.session(write=False) as session:
        return list(session.scalars(select(Sweep).order_by(Sweep.id)))


def stored_recipe(row: Sweep) -> Recipe | None:
    """The row's recipe; None if this version of Alignery cannot read it."""
    try:
        return Recipe.model_validate(row.recipe)
    except ValidationError:
        return None


def _difference(source: Sweep, earlier: Recipe | None, own: Sweep) -> str:
    """The differences of the two searches, other than their spaces; empty if there are none."""
    new_recipe = stored_recipe(own)
    if earlier is None or new_recipe is None:
        return "its recipe is of another version of Alignery"
    if not _files_as_they_were(earlier, source):
        return "its data or reward functions have changed since"
    pairs = {
        "base": (earlier.base, new_recipe.base),
        "fp32_modules": (earlier.fp32_modules, new_recipe.fp32_modules),
        "seed": (earlier.seed, new_recipe.seed),
        "evaluation": (earlier.evaluation, new_recipe.evaluation),
        "data": (earlier.data_of(source.stage), new_recipe.data_of(own.stage)),
        "rewards": (earlier.rewards(source.stage), new_recipe.rewards(own.stage)),
        "objective": (
            earlier.stages[source.stage].objective,
            new_recipe.stages[own.stage].objective,
        ),
        "constraints": (
            earlier.stages[source.stage].constraints,
            new_recipe.stages[own.stage].constraints,
        ),
        "parent": (source.parent_id, own.parent_id),
        "reward model": (source.reward_model_id, own.reward_model_id),
    }
    return ", ".join(name for name, (old, new) in pairs.items() if old != new)


def _files_as_they_were(recipe: Recipe, row: Sweep) -> bool:
    """Whether the files that a search read are unchanged."""
    code = (isinstance(reward, PythonConfig) for reward in recipe.rewards(row.stage).values())
    if recipe.data_of(row.stage).path is None and not any(code):
        return True
    search = Search(recipe, row.stage, row.parent_id, row.reward_model_id)
    return bool(search.digest == row.digest)


def _same_trials(
    earlier: StageConfig, stage: StageConfig, trials: Iterable[TrialSummary]
) -> tuple[tuple[dict[str, Any], ...], str]:
    """The complete trials that the new search could have had, with their parameters in it.

    The text says why other trials do not count: the settings that differ.
    """
    taken, differing = [], set()
    for trial in trials:
        if trial.state != "COMPLETE" or trial.objective is None:
            continue
        resolved = earlier.resolve(trial.params)
        params = _active(stage, _values(resolved, stage))
        if params is None:
            continue
        old_settings, new_settings = _trained(resolved), _trained(stage.resolve(params))
        fields = {name for name in old_settings if old_settings[name] != new_settings.get(name)}
        differing |= fields
        if not fields:
            taken.append(
                {
                    "number": trial.number,
                    "params": params,
                    "objective": trial.objective,
                    "violation": trial.violation,
                }
            )
    return tuple(taken), ", ".join(sorted(differing)) or "its trials lie outside the search space"


def _trained(stage: StageConfig) -> dict[str, Any]:
    """The fields of a resolved stage, without its search settings and the names of its adapters."""
    return stage.model_dump(
        mode="json", exclude={"sweep", "budget_seconds", "parent", "reward_model"}
    )


def _active(stage: StageConfig, values: Mapping[str, Any]) -> dict[str, Value] | None:
    """The parameters of a trial with these values; None if one lies outside its space."""
    spaces = stage.space()
    active = {path: values.get(path) for path in spaces if stage.is_active(path, values)}
    if any(value is None or not spaces[path].contains(value) for path, value in active.items()):
        return None
    return {path: spaces[path].read(value) for path, value in active.items() if value is not None}


def _best_points(
    earlier: Recipe | None, source: Sweep, stage: StageConfig, trials: list[TrialSummary]
) -> tuple[dict[str, Value], ...]:
    old_stage = None if earlier is None else earlier.stages[source.stage]
    # A recipe of another version still has the name of its objective.
    objective = source.recipe["stages"][source.stage]["objective"]
    minimised = objective == "nll" if old_stage is None else old_stage.minimised
    points: list[dict[str, Value]] = []
    for trial in ranked(trials, minimised):
        values = (
            trial.params if old_stage is None else _values(old_stage.resolve(trial.params), stage)
        )
        point = _active(stage, {**stage.defaults(), **values})
        if point is not None and point not in points and point != stage.defaults():
            points.append(point)
    return tuple(points[:POINTS])


def _values(resolved: StageConfig, stage: StageConfig) -> dict[str, Value]:
    """A resolved stage's values of the fields that are searched now; its method may differ."""
    values: dict[str, Value] = {}
    for path in stage.space():
        try:
            value = scalar(resolved.value(path))
        except (AttributeError, KeyError):  # the other method has no such field
            continue
        if isinstance(value, int | float | str):
            values[path] = value
    return values
