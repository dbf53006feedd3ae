"""Sentences about how stages read their data: the form, rows left out, columns without a use."""

from __future__ import annotations

from align.data.files import read, source_of
from align.data.formats import format_for
from align.recipe import Recipe

#: Columns that are read beside those of formats.
_ALWAYS = {"prompt", "answer", "tools"}


def reading_notes(recipe: Recipe, hub: bool = True) -> list[str]:
    """The sentences, each once although several stages may read the same file.

    Without `hub`, data on a hub are left out. DataError if data cannot be read.
    """
    notes: dict[str, None] = {}
    used: dict[str, set[str]] = {}
    columns: dict[str, tuple[str, ...]] = {}
    for name in recipe.order():
        data, stage = recipe.data_of(name), recipe.stages[name]
        if data.task is not None or (data.dataset is not None and not hub):
            continue
        table, source = read(data), source_of(data)
        if table.form:
            notes[f"{source}: read as {table.form}"] = None
        notes |= dict.fromkeys(f"{source}: {note}" for note in table.notes)
        columns[source] = tuple(dict.fromkeys(map(table.named, table.columns)))
        needed = _ALWAYS.union(
            format_for(stage.method, source, table).columns,
            *(reward.columns(reward_name) for reward_name, reward in stage.rewards.items()),
        )
        used.setdefault(source, set()).update(table.read, map(table.named, needed))
    for source, names in columns.items():
        if unused := [column for column in names if column not in used[source]]:
            notes[f"{source}: columns without a use: {', '.join(unused)}"] = None
    return list(notes)
