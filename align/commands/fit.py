"""`alignery recipe fit`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer

from align.commands.common import RecipeArgument, check_stage, recipe_app
from align.commands.engine_speed import speed_json, speed_text
from align.json_output import JsonOption, print_json
from align.memory.fit import StageFit, TrialOnCard, fit_stages
from align.memory.machines import GIB, GPUS, Machine, gpu
from align.memory.measured import measured
from align.memory.shape import read_shape
from align.memory.workload import PROMPT_TOKENS
from align.recipe import Recipe, load_recipe
from align.recipe.model import is_reference
from align.recipe.show import columns

_HEAD = (
    "STAGE", "BATCH", "CKPT", "TOKENS", "WEIGHTS", "LORA", "LAYERS", "LOGITS", "ENGINE",
    "OVERHEAD", "PEAK", "FITS",
)  # fmt: skip
_LEGEND = (
    "BATCH: rows of a micro-batch x micro-batches a step. LORA: with gradients, AdamW's moments "
    "and the parents beneath. LAYERS, LOGITS: at the fullest moment of a step. ENGINE: keys, "
    "values, adapters and CUDA graphs of the engine that evaluates each trial and writes GRPO's "
    "completions, for sequences as long as the recipe's stages have. OVERHEAD: CUDA's context and "
    "the allocator's gaps."
)
_WIDTH = 100


@recipe_app.command()
def fit(
    recipe: RecipeArgument,
    card: Annotated[
        str, typer.Option("--gpu", help=f"The card: {', '.join(GPUS)}.", show_default=True)
    ] = "T4",
    config: Annotated[
        Path | None,
        typer.Option(help="The base's config.json, where it cannot be had from the base itself."),
    ] = None,
    stage: Annotated[str, typer.Option(help="One stage; all of them if left out.")] = "",
    prompt_tokens: Annotated[
        int,
        typer.Option(
            min=1, help="The longest prompt of GRPO and of held-out items, with its template."
        ),
    ] = PROMPT_TOKENS,
    as_json: JsonOption = False,
) -> None:
    """Predict each stage's peak memory on a GPU, how many trials share it, and what fits better.

    Sequences are taken to be as long as the stage allows. Each stage is shown as trial 0 and as
    the trial of its search space that needs most. The engine's tokens a second are predicted for
    the largest adapter that the stages publish. Nothing is loaded and no GPU is used.
    """
    loaded, machine = load_recipe(recipe), measured(gpu(card))
    stages = [stage] if stage else loaded.order()
    for name in stages:
        check_stage(loaded, name)
    shape = read_shape(loaded.base, config)
    stage_fits = fit_stages(loaded, stages, shape, machine, prompt_tokens)
    rank = _published_rank(stage_fits)
    if as_json:
        print_json({
            "gpu": machine.name,
            "memory": machine.memory,
            "dtype": machine.dtype,
            "overheads": _overheads(machine),
            "parameters": shape.parameters,
            "stages": [_plain(stage_fit) for stage_fit in stage_fits],
            "engine": speed_json(shape, machine, rank),
        })  # fmt: skip
        return
    typer.echo(
        f"{loaded.name} on {config or loaded.base}: {shape.parameters / 1e6:,.1f} million weights "
        f"in {machine.dtype}; a {machine.name} has {_gib(machine.memory)} GiB"
    )
    typer.echo("Peak of one trial in GiB, every sequence as long as its stage allows:")
    for line in columns([_HEAD, *(row for stage_fit in stage_fits for row in _rows(stage_fit))]):
        typer.echo(f"  {line}")
    typer.echo(fill(f"{_LEGEND} {_overheads_told(machine)}", _WIDTH))
    for stage_fit in stage_fits:
        typer.echo(f"\n{stage_fit.stage}")
        for sentence in _sentences(stage_fit, loaded):
            typer.echo(fill(sentence, _WIDTH, initial_indent="  ", subsequent_indent="  "))
    typer.echo("")
    for line in speed_text(shape, machine, rank):
        typer.echo(line)


def _published_rank(stage_fits: list[StageFit]) -> int:
    """The largest rank of a published adapter: that of its LoRA and of all parents together."""
    works = [stage_fit.worst.work for stage_fit in stage_fits]
    return max(sum(lora.rank for lora in (work.lora, *work.beneath)) for work in works)


def _rows(stage_fit: StageFit) -> Iterator[tuple[str, ...]]:
    """Table rows of trial 0, and of the trial that needs most if its peak differs."""
    yield _row(stage_fit.stage, stage_fit.first)
    if stage_fit.worst.peak != stage_fit.first.peak:
        yield _row(f"  {_drawn(stage_fit.worst)}", stage_fit.worst)


def _row(name: str, trial: TrialOnCard) -> tuple[str, ...]:
    work, peak = trial.work, trial.peak
    parts = (
        peak.weights,
        peak.parent + peak.adapter,
        peak.activations,
        peak.logits,
        peak.engine,
        peak.overhead,
        peak.total,
    )
    batch, checkpointing = f"{work.rows}x{work.steps}", "yes" if work.checkpointing else "no"
    fits = f"{trial.sharing} a card" if trial.sharing else "no"
    return (name, batch, checkpointing, str(work.length), *(_gib(part) for part in parts), fits)


def _drawn(trial: TrialOnCard) -> str:
    """The parameters of the trial that needs most, in words."""
    settings = [f"{path.removeprefix('lora.')} {value}" for path, value in trial.params.items()]
    return ", ".join(settings) or "larger parents"


def _sentences(stage_fit: StageFit, recipe: Recipe) -> Iterator[str]:
    """What the table means for a stage, in sentences."""
    worst, work = stage_fit.worst, stage_fit.worst.work
    total = f"{_gib(worst.peak.total)} of {_gib(worst.machine.memory)} GiB at most"
    if worst.sharing > 1:
        share = f"{worst.sharing} trials share a card (num_gpus {worst.fraction:g} each)"
        yield f"It fits, {total}; {share}."
    elif worst.sharing:
        yield f"It fits, {total}; one trial fills a card."
    else:
        yield f"It does not fit, {total}.{' Trial 0 fits.' if stage_fit.first.sharing else ''}"
    if stage_fit.proposal is not None:
        yield _proposed(stage_fit.proposal, worst)
    elif not worst.sharing:
        yield (
            f"It does not fit at micro-batch {work.least} with gradient_checkpointing: lower "
            f"{work.training_method.length_field} or lora.r, or take a larger card or a smaller "
            "base."
        )
    if worst.sharing and not work.checkpointing:
        yield "gradient_checkpointing is not needed."
    elif worst.sharing and not stage_fit.other.sharing:
        yield (
            f"gradient_checkpointing is needed: {_gib(stage_fit.other.peak.total)} GiB without it."
        )
    stage = recipe.stages[stage_fit.stage]
    built_on = (stage.parent, stage.reward_model)
    if unknown := ", ".join(
        reference for reference in built_on if reference and is_reference(reference)
    ):
        yield f"Not counted, since only the registry knows their size: {unknown}."


def _proposed(proposal: TrialOnCard, current: TrialOnCard) -> str:
    """A setting that can be copied into the recipe, and its effects."""
    work, changed, effects = proposal.work, [], []
    if work.rows != current.work.rows:
        changed += [
            f"per_device_train_batch_size: {work.rows}",
            f"gradient_accumulation_steps: {work.steps}",
        ]
        effects.append(f"the effective batch stays {work.batch}")
    if work.checkpointing != current.work.checkpointing:
        changed.append(f"gradient_checkpointing: {str(work.checkpointing).lower()}")
        effects.append("it is needed" if work.checkpointing else "nothing is computed twice")
    opening = "With a card to itself it could take" if current.sharing else "It fits with"
    return (
        f"{opening}: {', '.join(changed)} ({_gib(proposal.peak.total)} GiB; {'; '.join(effects)})."
    )


def _plain(stage_fit: StageFit) -> dict[str, Any]:
    return {
        "stage": stage_fit.stage,
        "method": stage_fit.worst.work.method,
        "first": _trial(stage_fit.first),
        "worst": _trial(stage_fit.worst),
        "checkpointing_switched": _trial(stage_fit.other),
        "proposal": None if stage_fit.proposal is None else _trial(stage_fit.proposal),
    }


def _trial(trial: TrialOnCard) -> dict[str, Any]:
    return {
        "params": dict(trial.params),
        "per_device_train_batch_size": trial.work.rows,
        "gradient_accumulation_steps": trial.work.steps,
        "gradient_checkpointing": trial.work.checkpointing,
        "tokens": trial.work.length,
        "bytes": trial.peak.to_json(),
        "fits": trial.sharing > 0,
        "trials_sharing": trial.sharing,
        "gpu_fraction": trial.fraction,
    }


def _gib(count: int) -> str:
    return f"{count / GIB:.2f}"


def _overheads(machine: Machine) -> dict[str, Any]:
    return {
        "context": machine.context,
        "fragmentation": machine.fragmentation,
        "measured": machine.measured,
    }


def _overheads_told(machine: Machine) -> str:
    """Which overheads the prediction uses, and how they get better."""
    used = f"{_gib(machine.context)} GiB and {machine.fragmentation:.0%} of the tensors"
    if machine.measured:
        return f"These were measured on a {machine.name} by `alignery gpu check`: {used}."
    return f"These are assumed ({used}) until `alignery gpu check` has run on a {machine.name}."
