"""What an earlier search can teach a new one: its trials, or only its best points.

A trial of the earlier search whose settled stage is one that the new recipe could settle to, with
all else that is measured the same, *is* a trial of the new search. Such trials are what the sampler
learns from. Where anything else differs (data, base, parent, objective, …) the numbers mean
something else, and only the best points are worth trying.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select

from align.recipe import Recipe, StageConfig
from align.recipe.field_paths import value_of
from align.recipe.rewards import PythonConfig
from align.space.spaces import Value, scalar
from cluster.database import Database
from cluster.database.tables import Sweep
from cluster.settings import Settings
from sweeps.errors import SweepError
from sweeps.study.options import near
from sweeps.study.storage import read_trials
from sweeps.study.trials import TrialSummary, ranked
from sweeps.sweep_store import Search

_FIELD = "sweep.warm_start"
_RUN = re.compile(r"(?P<line>.+):(?P<run>\d+)")

#: How many points are tried where the numbers of the earlier search do not count.
POINTS = 3


@dataclass(frozen=True)
class Lesson:
    """What is taken from the study `source`: trials as they are, or points to be tried."""

    source: str
    note: str
    trials: tuple[dict[str, Any], ...] = ()  # number, params, objective, violation
    points: tuple[dict[str, Value], ...] = ()

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)


def lesson(settings: Settings, database: Database, study: str, stage: StageConfig) -> Lesson:
    """What `stage`, searched as `study`, takes from the search that `sweep.warm_start` names.

    SweepError if there is no such search, or nothing complete in it.
    """
    rows = _rows(database)
    source, trials = _source(settings, rows, str(stage.sweep.warm_start), study)
    own = next((row for row in rows if row.study == study), None)
    earlier = _recipe(source)
    name = f"{source.line}:{source.run}"
    difference = "this search has no row" if own is None else _difference(source, earlier, own)
    if earlier is not None and not difference:
        taken, difference = _same_trials(earlier.stages[source.stage], stage, trials)
        if taken:
            complete = sum(one.state == "COMPLETE" for one in trials)
            note = f"warm start: the sampler knows {len(taken)} of {complete} trials of {name}"
            return Lesson(source.study, note, trials=taken)
    points = _best_points(earlier, source, stage, trials)
    note = (
        f"warm start: {name} measured something else ({difference}): its trials teach nothing, "
        f"{len(points)} of its best points are tried again"
    )
    return Lesson(source.study, note, points=points)


def _source(
    settings: Settings, rows: list[Sweep], name: str, study: str
) -> tuple[Sweep, list[TrialSummary]]:
    """The row that a recipe means, with its trials.

    That of a study, of `line:run`, or the newest of a line in which anything is complete.
    """
    others = [row for row in rows if row.study != study]
    match = _RUN.fullmatch(name)
    found = [
        row
        for row in others
        if name in (row.study, row.line)
        or (match and row.line == match["line"] and row.run == int(match["run"]))
    ]
    if not found:
        known = [f"{row.line}:{row.run}" for row in others]
        listed = f"there are {', '.join(known[-20:])}" if known else "nothing was searched yet"
        raise SweepError(f"{_FIELD}: no earlier search '{name}'{near(name, known)}; {listed}")
    for row in reversed(found):
        trials = read_trials(settings, row.study)
        if any(one.state == "COMPLETE" for one in trials):
            return row, trials
    raise SweepError(f"{_FIELD}: no trial of '{name}' is complete; let it run, or name another")


def _rows(database: Database) -> list[Sweep]:
    with database.session(write=False) as session:
        return list(session.scalars(select(Sweep).order_by(Sweep.id)))


def _recipe(row: Sweep) -> Recipe | None:
    """The row's recipe; None if this version of Alignery reads it no more."""
    try:
        return Recipe.model_validate(row.recipe)
    except ValidationError:
        return None


def _difference(source: Sweep, earlier: Recipe | None, own: Sweep) -> str:
    """What the two searches do not have in common besides their spaces; nothing if all is."""
    now = _recipe(own)
    if earlier is None or now is None:
        return "its recipe is of another version of Alignery"
    if not _files_as_they_were(earlier, source):
        return "its data or reward functions have changed since"
    pairs = {
        "base": (earlier.base, now.base),
        "seed": (earlier.seed, now.seed),
        "evaluation": (earlier.evaluation, now.evaluation),
        "data": (earlier.data_of(source.stage), now.data_of(own.stage)),
        "rewards": (earlier.rewards(source.stage), now.rewards(own.stage)),
        "objective": (earlier.stages[source.stage].objective, now.stages[own.stage].objective),
        "constraints": (
            earlier.stages[source.stage].constraints,
            now.stages[own.stage].constraints,
        ),
        "parent": (source.parent_id, own.parent_id),
        "reward model": (source.reward_model_id, own.reward_model_id),
    }
    return ", ".join(name for name, (one, other) in pairs.items() if one != other)


def _files_as_they_were(recipe: Recipe, row: Sweep) -> bool:
    """Whether the files that a search read still hold what they held then."""
    code = (isinstance(one, PythonConfig) for one in recipe.rewards(row.stage).values())
    if recipe.data_of(row.stage).path is None and not any(code):
        return True
    search = Search(recipe, row.stage, row.parent_id, row.reward_model_id)
    return bool(search.digest == row.digest)


def _same_trials(
    earlier: StageConfig, stage: StageConfig, trials: Iterable[TrialSummary]
) -> tuple[tuple[dict[str, Any], ...], str]:
    """The complete trials that the new search could have had, with their parameters there.

    The text says why others are none: which settings differ.
    """
    taken, differing = [], set()
    for one in trials:
        if one.state != "COMPLETE" or one.objective is None:
            continue
        settled = earlier.resolve(one.params)
        params = _active(stage, _values(settled, stage))
        if params is None:
            continue
        before, now = _trained(settled), _trained(stage.resolve(params))
        unlike = {name for name in before if before[name] != now.get(name)}
        differing |= unlike
        if not unlike:
            taken.append(
                {
                    "number": one.number,
                    "params": params,
                    "objective": one.objective,
                    "violation": one.violation,
                }
            )
    return tuple(taken), ", ".join(sorted(differing)) or "its trials lie outside the search space"


def _trained(stage: StageConfig) -> dict[str, Any]:
    """What a settled stage does, whatever it is called and however it is searched."""
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
    before = None if earlier is None else earlier.stages[source.stage]
    # A recipe that cannot be read any more still holds its objective's name.
    objective = source.recipe["stages"][source.stage]["objective"]
    minimised = objective == "nll" if before is None else before.minimised
    points: list[dict[str, Value]] = []
    for one in ranked(trials, minimised):
        values = one.params if before is None else _values(before.resolve(one.params), stage)
        point = _active(stage, {**stage.defaults(), **values})
        if point is not None and point not in points and point != stage.defaults():
            points.append(point)
    return tuple(points[:POINTS])


def _values(settled: StageConfig, stage: StageConfig) -> dict[str, Value]:
    """What a settled stage, maybe of another method, has for the fields that are searched now."""
    found: dict[str, Value] = {}
    for path in stage.space():
        try:
            value = scalar(value_of(settled, path))
        except (AttributeError, KeyError):  # a field that the other method has not
            continue
        if isinstance(value, int | float | str):
            found[path] = value
    return found
