"""Whether what a stage is measured on was trained on, by itself or by a stage it builds on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from align.data.files import stamp
from align.data.problems import Split
from align.data.prompts import prompt_key, shown
from align.data.splits import answers_stage, split_rows
from align.errors import DataError
from align.recipe import DataConfig, Recipe
from align.recipe.trl_fields.installed import Method

HELD_OUT: tuple[Split, ...] = ("validation", "test")
#: Objectives that are measured on prompts with answers, of whichever stage has them.
ANSWERED = ("accuracy", "reward")


@dataclass(frozen=True)
class _Source:
    """A stage's rows; equal where the rows are."""

    stage: str
    method: Method
    data: str
    stamp: tuple[int, int] | None

    def keys(self, split: Split) -> list[str]:
        data = DataConfig.model_validate_json(self.data)
        return [prompt_key(row["prompt"]) for row in split_rows(data, self.method, split)]


def check_chain(recipe: Recipe, stage: str, hub: bool = True) -> None:
    """DataError if a prompt held out for `stage` is trained on by it or a stage it builds on.

    Those are its parent, its reward model, theirs in turn, and so on; registered adapters are not
    looked into. Held out are its own validation and test prompts, and those with answers that
    its objective is measured on. Without `hub`, rows on a hub are left out. After the first call
    the answer comes from memory.
    """
    trained = [_source(recipe, one) for one in chain(recipe, stage) if _read(recipe, one, hub)]
    held = [stage]
    if recipe.stages[stage].objective in ANSWERED and all(
        _read(recipe, one, hub) for one in recipe.stages
    ):
        held += [one for one in (answers_stage(recipe),) if one is not None and one != stage]
    for one in held:
        if _read(recipe, one, hub):
            _check(stage, _source(recipe, one), tuple(trained))


def chain(recipe: Recipe, stage: str) -> list[str]:
    """The stage, and every stage of the recipe that its champion depends on."""
    found = [stage]
    for name in found:
        config = recipe.stages[name]
        above = (config.parent, config.reward_model)
        found += [one for one in above if one in recipe.stages and one not in found]
    return found


def _source(recipe: Recipe, stage: str) -> _Source:
    data = recipe.data_of(stage)
    return _Source(stage, recipe.stages[stage].method, data.model_dump_json(), stamp(data))


def _read(recipe: Recipe, stage: str, hub: bool) -> bool:
    return hub or recipe.data_of(stage).dataset is None


@lru_cache(maxsize=64)
def _check(stage: str, held: _Source, trained: tuple[_Source, ...]) -> None:
    for other in trained:
        if _generated(held) and _generated(other):
            continue  # their problems belong to one split by the hash of their text
        taught = set(other.keys("train"))
        for split in HELD_OUT:
            leaked = [key for key in dict.fromkeys(held.keys(split)) if key in taught]
            if leaked:
                raise DataError(_told(stage, held.stage, other.stage, split, leaked))


def _generated(source: _Source) -> bool:
    return DataConfig.model_validate_json(source.data).task is not None


def _told(stage: str, held: str, other: str, split: Split, leaked: list[str]) -> str:
    many = f"{len(leaked)} {split} prompts" if len(leaked) > 1 else f"a {split} prompt"
    measured = "" if held == stage else f", which {stage} is measured on,"
    builds = "" if other == stage else f", which {stage} builds on"
    return (
        f"{many} of stage '{held}'{measured} would be trained on by stage '{other}'{builds}; "
        f"the first: {shown(leaked[0])}. Give both stages the same data (file, split, train, "
        "validation, test, seed), so that they hold out the same prompts, or files without "
        "common prompts"
    )
