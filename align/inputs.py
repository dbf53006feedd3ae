"""What a recipe needs from outside, tried before anything is started. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from align.errors import DataError
from align.recipe import Recipe
from align.recipe.model import OBJECTIVES, Objective
from align.sources import check_base
from align.stages.data import load_answers, load_split

#: Objectives that are measured on prompts whose answers can be checked.
ANSWERED: tuple[Objective, ...] = ("accuracy", "reward")


def check_inputs(recipe: Recipe, stages: Sequence[str] | None = None, hub: bool = True) -> None:
    """Fail here where every trial of `stages` (default: all) would.

    ModelError for a base that cannot be reached; DataError names the recipe's field whose data
    cannot be read, lack a column or are too few. Without `hub`, what lies on a hub is left out.
    """
    check_base(recipe.base, hub)
    for stage in stages or recipe.order():
        if not _unread(recipe, [stage], hub):
            _check_rows(recipe, stage)
        _check_answers(recipe, stage, hub)


def _unread(recipe: Recipe, stages: Sequence[str], hub: bool) -> bool:
    """Whether some of the stages' rows lie on a hub that is not to be asked."""
    return not hub and any(recipe.data_of(stage).dataset is not None for stage in stages)


def _check_rows(recipe: Recipe, stage: str) -> None:
    try:
        load_split(recipe, stage, "train")  # reads all rows, and cuts all splits
    except DataError as error:
        field = _field(recipe, stage)
        advice = "; correct the file, or name another" if field.endswith("path") else ""
        raise DataError(f"{field}: {error}{advice}") from None


def _check_answers(recipe: Recipe, stage: str, hub: bool) -> None:
    config = recipe.stages[stage]
    sources = [name for name, one in recipe.stages.items() if one.method in ("sft", "grpo")]
    if config.objective not in ANSWERED or _unread(recipe, sources, hub):
        return
    if not load_answers(recipe, "validation"):
        others = [one for one in OBJECTIVES[config.method] if one not in ANSWERED]
        instead = f", or take another objective: {', '.join(others)}" if others else ""
        fields = dict.fromkeys(_named(recipe, source) for source in sources)
        raise DataError(
            f"stages.{stage}.objective: '{config.objective}' needs answers that can be checked; "
            f"add a column 'answer' to {' or '.join(fields) or 'a stage of method sft or grpo'}"
            f"{instead}"
        )


def _named(recipe: Recipe, stage: str) -> str:
    """The field and what it holds."""
    data = recipe.data_of(stage)
    return f"{_field(recipe, stage)} ({data.path or data.dataset or data.task})"


def _field(recipe: Recipe, stage: str) -> str:
    """Where the recipe names this stage's data."""
    block = "data" if recipe.stages[stage].data is None else f"stages.{stage}.data"
    names = recipe.data_of(stage).model_dump()
    return next(f"{block}.{kind}" for kind in ("task", "path", "dataset") if names[kind])
