"""Checks of a recipe's base and data before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from align.base_tokenizer import read_tokenizer
from align.data.files import check_columns
from align.data.leaks import HELD_OUT, check_chain
from align.data.problems import Split
from align.data.row_account import row_account
from align.data.row_findings import RowAccount
from align.data.splits import answers_stage, check_disjoint, load_answers, load_split
from align.data.user_rows import Row
from align.errors import DataError, ModelError
from align.memory.shape import read_shape
from align.methods import names_of
from align.recipe import Recipe
from align.recipe.metric_schedule import rung_metric, rung_metrics
from align.sources import check_base, on_hub
from align.space.constraints import needed


def check_inputs(
    recipe: Recipe, stages: Sequence[str] | None = None, hub: bool = True
) -> dict[str, RowAccount]:
    """Raise the errors that every trial of `stages` (default: all) would raise.

    Returns an account of the rows of each stage whose data were read. ModelError if the base cannot
    be reached. DataError, naming the recipe's field, if data cannot be read, lack a column, are too
    few, cannot be rendered by the base's chat template, if no row can be trained on, or if held-out
    rows are trained on. Without `hub`, bases and data on a hub are not checked; if the base is not
    on this machine, lengths and the template are not.
    """
    check_base(recipe.base, hub)
    accounts: dict[str, RowAccount] = {}
    for stage in stages or recipe.order():
        if not _unread(recipe, [stage], hub):
            with _at(recipe, stage):
                accounts[stage] = _check_rows(recipe, stage, hub)
            _check_rewards(recipe, stage)
        _check_objective(recipe, stage, hub)
        _check_rung_metric(recipe, stage, hub)
        _check_constraints(recipe, stage, hub)
        try:
            check_chain(recipe, stage, hub)
        except DataError as error:
            raise DataError(f"stages.{stage}: {error}") from None
    return accounts


def _unread(recipe: Recipe, stages: Sequence[str], hub: bool) -> bool:
    """Whether rows of some of the stages are on a hub, without `hub`."""
    return not hub and any(recipe.data_of(stage).dataset is not None for stage in stages)


@contextmanager
def _at(recipe: Recipe, stage: str) -> Iterator[None]:
    """Prefix a DataError with the recipe's field that names the stage's data."""
    try:
        yield
    except DataError as error:
        field = _field(recipe, stage)
        advice = "; correct the file, or name another" if field.endswith("path") else ""
        raise DataError(f"{field}: {error}{advice}") from None


def _check_rows(recipe: Recipe, stage: str, hub: bool) -> RowAccount:
    splits: dict[Split, list[Row]] = {"train": load_split(recipe, stage, "train")}  # reads all rows
    splits |= {split: load_split(recipe, stage, split) for split in HELD_OUT}
    check_disjoint({str(name): rows for name, rows in splits.items()})
    tokenizer = read_tokenizer(recipe.base, hub)
    return row_account(
        recipe,
        stage,
        splits,
        tokenizer,
        _context_length(recipe.base),
        _answer_tokens(recipe, stage),
    )


def _context_length(base: str) -> int | None:
    """Tokens of a sequence of the base; None if it is on a hub or does not say."""
    with suppress(ModelError):
        return None if on_hub(base) else read_shape(base).context
    return None


def _answer_tokens(recipe: Recipe, stage: str) -> int | None:
    """Tokens of an answer to the stage's held-out prompts; None if they are not answered."""
    if "answers" not in recipe.stages[stage].training_method.measured or _unread(
        recipe, _sources(recipe), hub=False
    ):
        return None
    with suppress(DataError):  # of another stage, which may not be searched
        answered = answers_stage(recipe) or stage
        return recipe.evaluation.max_new_tokens if answered == stage else None
    return None


def _check_rewards(recipe: Recipe, stage: str) -> None:
    """Check that every row of an online stage has the columns that its rewards need."""
    data, config = recipe.data_of(stage), recipe.stages[stage]
    for name, reward in config.rewards.items() if config.training_method.online else ():
        columns, reader = reward.columns(name), f"reward '{name}' of stage '{stage}'"
        with _at(recipe, stage):
            if data.task is None:
                check_columns(data, columns, reader)
            elif lacking := set(columns) - set(load_split(recipe, stage, "train")[0]):
                raise DataError(
                    f"task '{data.task}' gives no column {', '.join(sorted(lacking))}, "
                    f"and {reader} needs it"
                )


def _check_constraints(recipe: Recipe, stage: str, hub: bool) -> None:
    """Check that accuracy can be measured if a constraint uses it."""
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
        columns = set.intersection(*(set(row) for row in rows))
        rewards = recipe.rewards(stage).items()
        if any(columns.issuperset(reward.columns(name)) for name, reward in rewards):
            return
    if not rows or config.objective == "reward":
        others = [
            name for name in config.training_method.objectives if name not in ("accuracy", "reward")
        ]
        alternatives = f", or take another objective: {', '.join(others)}" if others else ""
        raise DataError(
            f"stages.{stage}.objective: '{config.objective}' needs answers that can be checked; "
            f"{_add_answers(recipe, sources)}{alternatives}"
        )


def _check_rung_metric(recipe: Recipe, stage: str, hub: bool) -> None:
    config, sources = recipe.stages[stage], _sources(recipe)
    if rung_metric(config) != "accuracy" or _unread(recipe, [*sources, stage], hub):
        return
    if not load_answers(recipe, "validation"):
        others = [name for name in rung_metrics(config) if name != "accuracy"]
        raise DataError(
            f"stages.{stage}.sweep.rung_metric: 'accuracy' needs answers that can be checked; "
            f"{_add_answers(recipe, sources)}, or take another rung metric: {', '.join(others)}"
        )


def _sources(recipe: Recipe) -> list[str]:
    """Stages whose rows may have answers to check."""
    return [name for name, stage in recipe.stages.items() if stage.training_method.answerable]


def _add_answers(recipe: Recipe, sources: Sequence[str]) -> str:
    fields = dict.fromkeys(_named(recipe, source) for source in sources)
    where = " or ".join(fields) or f"a stage of method {' or '.join(names_of('answerable'))}"
    return f"add a column 'answer' to {where}"


def _named(recipe: Recipe, stage: str) -> str:
    """The recipe's field that names the stage's data, with its value."""
    data = recipe.data_of(stage)
    return f"{_field(recipe, stage)} ({data.path or data.dataset or data.task})"


def _field(recipe: Recipe, stage: str) -> str:
    """The path of the recipe's field that names the stage's data."""
    block = "data" if recipe.stages[stage].data is None else f"stages.{stage}.data"
    values = recipe.data_of(stage).model_dump()
    return next(f"{block}.{kind}" for kind in ("task", "path", "dataset") if values[kind])
