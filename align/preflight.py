"""What a recipe needs from outside, tried before anything is started. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from align.data.files import check_columns
from align.data.leaks import HELD_OUT, check_chain
from align.data.splits import check_disjoint, load_answers, load_split
from align.errors import DataError
from align.recipe import Recipe
from align.recipe.model import OBJECTIVES
from align.recipe.rewards import PythonConfig, RewardConfig
from align.sources import check_base
from align.space.constraints import needed

#: Columns that built-in rewards compare a completion with.
_COMPARED = {
    "correctness": ("answer",),
    "accuracy_reward": ("answer",),
    "reasoning_accuracy_reward": ("answer",),
    "get_cosine_scaled_reward": ("answer",),
    "reasoning_gym": ("entry",),
}
#: What training itself adds to a row.
_GIVEN = ("completion_ids",)


def check_inputs(recipe: Recipe, stages: Sequence[str] | None = None, hub: bool = True) -> None:
    """Fail here where every trial of `stages` (default: all) would.

    ModelError for a base that cannot be reached; DataError names the recipe's field whose data
    cannot be read, lack a column, are too few, or hold out what is trained on. Without `hub`, what
    lies on a hub is left out.
    """
    check_base(recipe.base, hub)
    for stage in stages or recipe.order():
        if not _unread(recipe, [stage], hub):
            with _at(recipe, stage):
                _check_rows(recipe, stage)
            _check_rewards(recipe, stage)
        _check_objective(recipe, stage, hub)
        _check_constraints(recipe, stage, hub)
        try:
            check_chain(recipe, stage, hub)
        except DataError as error:
            raise DataError(f"stages.{stage}: {error}") from None


def needed_columns(name: str, config: RewardConfig) -> tuple[str, ...]:
    """The rows' columns that a reward cannot do without.

    RecipeError if it is a person's own function that cannot be imported.
    """
    if isinstance(config, PythonConfig):
        from align.rewards.functions import Function

        return tuple(one for one in Function(name, config).needs if one not in _GIVEN)
    return _COMPARED.get(name, ())


def _unread(recipe: Recipe, stages: Sequence[str], hub: bool) -> bool:
    """Whether some of the stages' rows lie on a hub that is not to be asked."""
    return not hub and any(recipe.data_of(stage).dataset is not None for stage in stages)


@contextmanager
def _at(recipe: Recipe, stage: str) -> Iterator[None]:
    """Errors that begin with the field whose data they are about."""
    try:
        yield
    except DataError as error:
        field = _field(recipe, stage)
        advice = "; correct the file, or name another" if field.endswith("path") else ""
        raise DataError(f"{field}: {error}{advice}") from None


def _check_rows(recipe: Recipe, stage: str) -> None:
    splits = {"train": load_split(recipe, stage, "train")}  # reads all rows
    check_disjoint(splits | {split: load_split(recipe, stage, split) for split in HELD_OUT})


def _check_rewards(recipe: Recipe, stage: str) -> None:
    """Each of GRPO's rewards has the columns that it needs, in every row."""
    data, config = recipe.data_of(stage), recipe.stages[stage]
    for name, reward in config.rewards.items() if config.method == "grpo" else ():
        columns, why = needed_columns(name, reward), f"reward '{name}' of stage '{stage}'"
        with _at(recipe, stage):
            if data.task is None:
                check_columns(data, columns, why)
            elif lacking := set(columns) - set(load_split(recipe, stage, "train")[0]):
                raise DataError(
                    f"task '{data.task}' gives no column {', '.join(sorted(lacking))}, "
                    f"and {why} needs it"
                )


def _check_constraints(recipe: Recipe, stage: str, hub: bool) -> None:
    """Accuracy can be measured where a constraint looks at it."""
    sources = _sources(recipe)
    for text in recipe.stages[stage].constraints:
        if "accuracy" not in needed([text]) or _unread(recipe, [*sources, stage], hub):
            continue
        if not load_answers(recipe, "validation"):
            raise DataError(
                f"stages.{stage}.constraints: '{text}' needs answers that can be checked; "
                f"{_add_answers(recipe, sources)}"
            )


def _check_objective(recipe: Recipe, stage: str, hub: bool) -> None:
    config, sources = recipe.stages[stage], _sources(recipe)
    if config.objective not in ("accuracy", "reward") or _unread(recipe, [*sources, stage], hub):
        return
    rows = load_answers(recipe, "validation")
    if config.objective == "reward":
        rows = rows or load_split(recipe, stage, "validation")
        found = set.intersection(*(set(row) for row in rows))
        rewards = recipe.rewards(stage).items()
        if any(found.issuperset(needed_columns(name, one)) for name, one in rewards):
            return
    if not rows or config.objective == "reward":
        others = [one for one in OBJECTIVES[config.method] if one not in ("accuracy", "reward")]
        instead = f", or take another objective: {', '.join(others)}" if others else ""
        raise DataError(
            f"stages.{stage}.objective: '{config.objective}' needs answers that can be checked; "
            f"{_add_answers(recipe, sources)}{instead}"
        )


def _sources(recipe: Recipe) -> list[str]:
    """Stages whose rows may have answers to check."""
    return [name for name, one in recipe.stages.items() if one.method in ("sft", "grpo")]


def _add_answers(recipe: Recipe, sources: Sequence[str]) -> str:
    fields = dict.fromkeys(_named(recipe, source) for source in sources)
    return f"add a column 'answer' to {' or '.join(fields) or 'a stage of method sft or grpo'}"


def _named(recipe: Recipe, stage: str) -> str:
    """The field and what it holds."""
    data = recipe.data_of(stage)
    return f"{_field(recipe, stage)} ({data.path or data.dataset or data.task})"


def _field(recipe: Recipe, stage: str) -> str:
    """Where the recipe names this stage's data."""
    block = "data" if recipe.stages[stage].data is None else f"stages.{stage}.data"
    names = recipe.data_of(stage).model_dump()
    return next(f"{block}.{kind}" for kind in ("task", "path", "dataset") if names[kind])
