"""Sentences about how stages read their data: the form, rows left out, columns without a use."""

from __future__ import annotations

from align.data.files import TRL_COLUMNS, read, source_of
from align.recipe import Recipe


def reading_notes(recipe: Recipe, hub: bool = True) -> list[str]:
    """The sentences, each once although several stages may read the same file.

    Without `hub`, data on a hub are left out. DataError if data cannot be read.
    """
    notes: dict[str, None] = {}
    for name in recipe.order():
        data = recipe.data_of(name)
        if data.task is not None or (data.dataset is not None and not hub):
            continue
        table, source = read(data), source_of(data)
        if table.form:
            notes[f"{source}: read as {table.form}"] = None
        notes |= dict.fromkeys(f"{source}: {note}" for note in table.notes)
        used = TRL_COLUMNS | table.read | _rewarded(recipe, source)
        if unused := [column for column in table.columns if column not in used]:
            notes[f"{source}: columns without a use: {', '.join(unused)}"] = None
    return list(notes)


def _rewarded(recipe: Recipe, source: str) -> set[str]:
    """The columns of a source that rewards read."""
    return {
        column
        for name in recipe.order()
        if source_of(recipe.data_of(name)) == source
        for reward, config in recipe.stages[name].rewards.items()
        for column in config.columns(reward)
    }
