"""Detects held-out prompts that a stage, or a stage that it builds on, is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from align.data.files import stamp
from align.data.problems import Split
from align.data.prompts import prompt_key, shown
from align.data.splits import answers_stage, split_rows
from align.errors import DataError
from align.methods import MethodName
from align.recipe import DataConfig, Recipe, StageConfig
from align.recipe.metric_schedule import rung_metric

HELD_OUT: tuple[Split, ...] = ("validation", "test")
#: Objectives that are measured on prompts with answers, possibly of another stage.
ANSWERED = ("accuracy", "reward")


@dataclass(frozen=True)
class _Source:
    """The source of a stage's rows; hashable, and equal only for the same rows of a stage."""

    stage: str
    method: MethodName
    data: str
    stamp: tuple[int, int] | None

    def keys(self, split: Split) -> list[str]:
        data = DataConfig.model_validate_json(self.data)
        return [prompt_key(row["prompt"]) for row in split_rows(data, self.method, split)]


def check_chain(recipe: Recipe, stage: str, hub: bool = True) -> None:
    """DataError if a prompt held out for `stage` is trained on by it or a stage it builds on.

    A stage builds on its parent and its reward model, and on the stages that these build on;
    registered adapters are not checked. The held-out prompts are the stage's own validation and
    test prompts, and the prompts with answers that its objective is measured on. Without `hub`,
    rows of hub datasets are left out. Results are cached.
    """
    trained = [_source(recipe, name) for name in chain(recipe, stage) if _read(recipe, name, hub)]
    held_out = [stage]
    if _answers(recipe.stages[stage]) and all(_read(recipe, name, hub) for name in recipe.stages):
        held_out += [
            name for name in (answers_stage(recipe),) if name is not None and name != stage
        ]
    for name in held_out:
        if _read(recipe, name, hub):
            _check(stage, _source(recipe, name), tuple(trained))


def _answers(config: StageConfig) -> bool:
    """Whether the stage's trials are ranked or compared by answers to prompts."""
    by_answers = ("accuracy", "mean_reward", "sampled_reward", "win_rate")
    return config.objective in ANSWERED or rung_metric(config) in by_answers


def chain(recipe: Recipe, stage: str) -> list[str]:
    """The stage and every stage of the recipe that it builds on, directly or not."""
    names = [stage]
    for name in names:
        config = recipe.stages[name]
        links = (config.parent, config.reward_model)
        names += [link for link in links if link in recipe.stages and link not in names]
    return names


def _source(recipe: Recipe, stage: str) -> _Source:
    data = recipe.data_of(stage)
    return _Source(stage, recipe.stages[stage].method, data.model_dump_json(), stamp(data))


def _read(recipe: Recipe, stage: str, hub: bool) -> bool:
    return hub or recipe.data_of(stage).dataset is None


@lru_cache(maxsize=64)
def _check(stage: str, held_out: _Source, trained: tuple[_Source, ...]) -> None:
    for source in trained:
        if _generated(held_out) and _generated(source):
            continue  # a generated problem's split follows from the hash of its text
        taught = set(source.keys("train"))
        for split in HELD_OUT:
            leaked = [key for key in dict.fromkeys(held_out.keys(split)) if key in taught]
            if leaked:
                raise DataError(_told(stage, held_out.stage, source.stage, split, leaked))


def _generated(source: _Source) -> bool:
    return DataConfig.model_validate_json(source.data).task is not None


def _told(stage: str, owner: str, trainer: str, split: Split, leaked: list[str]) -> str:
    prompts = f"{len(leaked)} {split} prompts" if len(leaked) > 1 else f"a {split} prompt"
    measured = "" if owner == stage else f", which {stage} is measured on,"
    builds = "" if trainer == stage else f", which {stage} builds on"
    return (
        f"{prompts} of stage '{owner}'{measured} would be trained on by stage '{trainer}'{builds}; "
        f"the first: {shown(leaked[0])}. Give both stages the same data (file, split, train, "
        "validation, test, seed), so that they hold out the same prompts, or files without "
        "common prompts"
    )
