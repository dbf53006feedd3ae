"""What differs between a search and the earlier search of its line, and what follows from it. Pure.

A search is continued as long as nothing changes that its trials' results depend on; otherwise the
line gets a new search, and the earlier one stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from align.recipe import Recipe
from align.recipe.show import in_words
from align.space.spaces import Expression, Space
from cluster.database.tables import Sweep
from sweeps.sweep_store import FAILED, FINISHED, MAY_CHANGE, Search

#: The most changes that are named.
_NAMED = 4
#: The most characters of a value that are shown.
_LONGEST = 60


@dataclass(frozen=True)
class FieldChange:
    """A field of a recipe, by dotted path, whose value has changed; the values as text.

    `restarts`: trials of both values cannot be compared, so the search begins anew.
    """

    path: str
    before: str
    after: str
    restarts: bool

    def __str__(self) -> str:
        return f"{self.path} {self.before} → {self.after}"


def field_changes(earlier: Search, new: Search) -> list[FieldChange]:
    """The fields of two searches that differ, those that restart the search first."""
    before, after = dict(_values(earlier)), dict(_values(new))
    changes = [
        FieldChange(path, _text(before.get(path)), _text(after.get(path)), restarts(path))
        for path in {**before, **after}
        if _comparable(before.get(path)) != _comparable(after.get(path))
    ]
    return sorted(changes, key=lambda change: not change.restarts)


def restarts(path: str) -> bool:
    """Whether a change of this field of a recipe, by dotted path, begins a new search."""
    block, _, name = path.partition(".")
    if block == "sweep":
        return name not in MAY_CHANGE
    # A file counts by its content, wherever it lies.
    return path not in ("budget_seconds", "data.path")


def explain(search: Search, row: Sweep | None, earlier: Sequence[Sweep]) -> str:
    """A sentence on why `search` continues a row or begins a new one; empty if nothing changed.

    `row` is the search's own row, None if it is to be begun; `earlier` are the rows that its line
    had before, oldest first.
    """
    if row is not None and any(row.id == other.id for other in earlier):
        changes = _between(row, search)
        free = [change for change in changes or () if not change.restarts]
        return f"goes on with run {row.run}; since it began: {_listed(free)}" if free else ""
    succeeded = [other for other in earlier if other.state != FAILED]
    if not succeeded:
        return ""
    previous = succeeded[-1]
    number = "" if row is None else f", run {row.run},"
    sentence = (
        f"a new search{number} since run {previous.run} differs: "
        f"{_difference(previous, search)}. Run {previous.run} stays as it is"
    )
    if previous.state != FINISHED:
        sentence += "; with its values in the recipe it goes on"
    if search.recipe.stages[search.stage].sweep.warm_start is None:
        sentence += f"; to learn from it, set sweep.warm_start: {previous.line}:{previous.run}"
    return sentence


def _difference(previous: Sweep, search: Search) -> str:
    changes = _between(previous, search)
    if changes is None:
        return "its recipe is of another version of Alignery"
    decisive = [change for change in changes if change.restarts]
    if decisive:
        return _listed(decisive)
    recipe = Recipe.model_validate(previous.recipe)
    as_it_was = Search(recipe, search.stage, previous.parent_id, previous.reward_model_id)
    if as_it_was.digest != previous.digest:
        return "the content of its data or reward functions has changed"
    return "it was begun anew"


def _between(row: Sweep, search: Search) -> list[FieldChange] | None:
    """Changes from a row's search; None if this version cannot read the row's recipe."""
    try:
        recipe = Recipe.model_validate(row.recipe)
    except ValidationError:
        return None
    if search.stage not in recipe.stages:
        return None
    return field_changes(Search(recipe, row.stage, row.parent_id, row.reward_model_id), search)


def _values(search: Search) -> Iterator[tuple[str, Any]]:
    """The fields that a search depends on, by dotted path."""
    recipe, stage = search.recipe, search.stage
    yield from (("base", recipe.base), ("seed", recipe.seed))
    yield "fp32_modules", recipe.fp32_modules
    for name, identity in (("parent", search.parent_id), ("reward_model", search.reward_model_id)):
        yield name, identity and identity[:12]
    blocks = {
        "sweep": recipe.stages[stage].sweep,
        "data": recipe.data_of(stage),
        "evaluation": recipe.evaluation,
    }
    for path, value in recipe.stages[stage].fields():
        if path not in (*blocks, "rewards", "parent", "reward_model"):
            yield path, value
    for block, model in blocks.items():
        yield from ((f"{block}.{name}", value) for name, value in model)
    for name, reward in recipe.rewards(stage).items():
        yield f"rewards.{name}", reward.model_dump(mode="json", exclude={"folder"})


def _comparable(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _text(value: Any) -> str:
    if isinstance(value, Space | Expression):
        default = f", default {value.default}" if isinstance(value, Space) else ""
        text = in_words(value) + default
    elif value is None:
        text = "none"
    else:
        text = value if isinstance(value, str) else json.dumps(_comparable(value), default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _listed(changes: Sequence[FieldChange]) -> str:
    more = f" and {len(changes) - _NAMED} more" if len(changes) > _NAMED else ""
    return ", ".join(map(str, changes[:_NAMED])) + more
