"""`alignery recipe try-rewards`: each reward's values for sample completions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from align.commands.common import RecipeArgument, check_stage, recipe_app
from align.commands.rewards_table import plain, show
from align.errors import RecipeError
from align.json_output import JsonOption, print_json
from align.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from align.rewards import Rewards
    from align.rewards.samples import Sample

_PIPE_COLUMNS = 120


@recipe_app.command("try-rewards")
def try_rewards(
    recipe: RecipeArgument,
    stage: Annotated[
        str, typer.Option(help="Whose rewards and prompts; the first stage with rewards if not.")
    ] = "",
    adapter: Annotated[
        Path | None,
        typer.Option(help="A published adapter's folder to write with; the base if left out."),
    ] = None,
    reward_model: Annotated[
        Path | None,
        typer.Option(help="A trained reward model's folder, the judge for reward_model."),
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="How many of the stage's prompts.")] = 4,
    completions: Annotated[
        int | None,
        typer.Option(min=1, help="How many for each prompt; a GRPO stage's num_generations, or 4."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="The stage's if left out; 0 is greedy.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="The stage's max_completion_length if left out.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The recipe's if left out.")] = None,
    completions_from: Annotated[
        Path | None,
        typer.Option(help="Score these rows (prompt, completion, answer, …); nothing is written."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each reward says of sample completions, before anything is trained."""
    loaded = load_recipe(recipe)
    stage = _stage(loaded, stage)
    if completions_from is not None and adapter is not None:
        raise RecipeError("--completions-from and --adapter exclude each other: name one")
    from align.rewards.report import try_rewards as tried
    from align.rewards.samples import read_samples

    if completions_from is not None:
        from align.data.user_rows import read_rows

        samples = read_samples(read_rows(completions_from), completions_from)
        source = f"from {completions_from}"
        rewards = _rewards(loaded, stage, reward_model)
    else:
        rewards = _rewards(loaded, stage, reward_model)
        options = (prompts, completions, temperature, max_new_tokens, seed)
        samples = _written(loaded, stage, adapter, *options)
        source = f"written by {adapter or f'the base {loaded.base}'}"
    report = tried(rewards, samples)
    left_out = [name for name in loaded.stages[stage].rewards if name not in rewards.weights]
    if as_json:
        print_json({"recipe": loaded.name, "stage": stage, **plain(report, left_out)})
        return
    console = Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS, highlight=False)
    show(console, report, left_out, f"{loaded.line(stage)}: {len(samples)} completions {source}")


def _stage(recipe: Recipe, name: str) -> str:
    """The named stage, or the first with rewards. RecipeError if it is unknown or has none."""
    if name:
        check_stage(recipe, name)
    with_rewards = [stage for stage in recipe.order() if recipe.stages[stage].rewards]
    if not with_rewards:
        raise RecipeError(
            f"{recipe.name}: no stage has rewards; write e.g. rewards: {{correctness: 1.0}}"
        )
    if name and name not in with_rewards:
        raise RecipeError(
            f"stage '{name}' has no rewards; stages that have: {', '.join(with_rewards)}"
        )
    return name or with_rewards[0]


def _rewards(recipe: Recipe, stage: str, reward_model: Path | None) -> Rewards:
    """The stage's rewards. Without a judge, the base is loaded only if tokens are counted."""
    from align.rewards import Rewards

    configs = recipe.stages[stage].rewards
    if reward_model is None:
        return Rewards(configs, tokenize=_tokenizer(recipe))
    if "reward_model" not in configs:
        raise RecipeError(
            f"--reward-model: stage '{stage}' has no reward 'reward_model'; "
            f"it has: {', '.join(configs)}"
        )
    from align.evaluation.evaluate import Evaluator

    return Evaluator(recipe, reward_model).rewards(configs)


def _tokenizer(recipe: Recipe) -> Callable[[str], Sequence[int]]:
    """A function from text to ids; it loads the base's tokenizer at its first call."""

    def tokenize(text: str) -> Sequence[int]:
        from align.base import load_base

        base = load_base(recipe.base, *recipe.fp32_modules)
        ids: list[int] = base.tokenizer.encode(text, add_special_tokens=False)
        return ids

    return tokenize


def _written(
    recipe: Recipe,
    stage: str,
    adapter: Path | None,
    prompts: int,
    completions: int | None,
    temperature: float | None,
    max_new_tokens: int | None,
    seed: int | None,
) -> list[Sample]:
    """Completions of the stage's first training prompts; trial 0 sets the default options."""
    from align.data.splits import load_split
    from align.evaluation.evaluate import shared_engine
    from align.rewards.samples import write_samples

    config = recipe.stages[stage].resolve()
    rows = load_split(recipe, stage, "train")[:prompts]
    engine = shared_engine(recipe.base, *recipe.fp32_modules)
    if adapter is not None:
        engine.load(str(adapter), adapter)
    default = config.num_generations if config.training_method.online else 4
    sampling_temperature = config.temperature if temperature is None else temperature
    assert isinstance(sampling_temperature, int | float)  # resolve() left no search space
    return write_samples(
        engine,
        rows,
        count=completions or default,
        adapter=None if adapter is None else str(adapter),
        temperature=float(sampling_temperature),
        max_new_tokens=max_new_tokens or config.max_completion_length,
        seed=recipe.seed if seed is None else seed,
    )
