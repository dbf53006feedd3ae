"""Checks between a stage's fields of any method, made before anything starts.

Each method adds its own: `align.methods.specification.Method.complaints`.

TRL makes most of these checks too, but in a worker, after its imports and the base were loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from align.recipe.schema import StageSchema
from align.space import Interval
from align.space.optuna_names import SAMPLERS, class_name

#: Objectives that are at most 1; samplers that try a fixed list of points.
_UP_TO_1 = ("accuracy", "win_rate", "pair_accuracy", "label_auc")
_GRIDS = ("GridSampler", "BruteForceSampler")
#: Complete trials that an expected gain is computed from at least.
_LEAST_COMPLETE = 3


def complaints(stage: StageSchema) -> Iterator[str]:
    """Messages about everything that is wrong between the stage's fields.

    Searched and computed fields are not checked here, but when trials are resolved (`Recipe`).
    """
    yield from _length_and_rewards(stage)
    yield from _schedule(stage)
    yield from _loading(stage)
    yield from _stop_when(stage)
    yield from stage.training_method.complaints(stage)


def _length_and_rewards(stage: StageSchema) -> Iterator[str]:
    if (stage.max_steps is None) == (stage.num_train_epochs is None):
        yield "name one of max_steps and num_train_epochs"
    if "reward_model" in stage.rewards and stage.reward_model is None:
        yield "reward 'reward_model' needs the field reward_model: <stage or adapter>"
    if stage.objective == "win_rate" and stage.reward_model is None:
        yield "objective 'win_rate' needs a judge: the field reward_model: <stage>"


def _schedule(stage: StageSchema) -> Iterator[str]:
    kind, options = stage.fixed("lr_scheduler_type"), _mapping(stage, "lr_scheduler_kwargs")
    if kind in ("reduce_lr_on_plateau", "greedy"):
        yield (
            f"lr_scheduler_type '{kind}' goes by evaluations within training, and Alignery "
            "measures published adapters at rungs; take another"
        )
    floor = {"min_lr", "min_lr_rate"} & options.keys()
    if kind in ("cosine_with_min_lr", "cosine_warmup_with_min_lr") and len(floor) != 1:
        yield f"lr_scheduler_type '{kind}' needs lr_scheduler_kwargs: {{min_lr_rate: 0.1}}"
    if kind == "warmup_stable_decay" and "num_decay_steps" not in options:
        yield f"lr_scheduler_type '{kind}' needs lr_scheduler_kwargs: {{num_decay_steps: …}}"
    yield from _warmup(stage)


def _warmup(stage: StageSchema) -> Iterator[str]:
    value: Any = stage.warmup_steps
    if isinstance(value, Interval) and not value.discrete and value.high >= 1:
        yield (
            "warmup_steps: search whole numbers of steps by int or choice, or a share of all steps "
            "between ends below 1"
        )
    elif isinstance(value, int | float) and value >= 1 and value != int(value):
        yield (
            f"warmup_steps is a whole number of steps, or a share of all steps below 1; got {value}"
        )


def _loading(stage: StageSchema) -> Iterator[str]:
    if not stage.fixed("dataloader_num_workers"):
        for name in ("dataloader_prefetch_factor", "dataloader_persistent_workers"):
            if stage.fixed(name):
                yield f"{name} needs dataloader_num_workers from 1 on"
    checkpointing = _mapping(stage, "gradient_checkpointing_kwargs")
    if checkpointing.get("use_reentrant"):
        yield (
            "gradient_checkpointing_kwargs: use_reentrant finds no gradient below a frozen base; "
            "leave it out"
        )
    if checkpointing and stage.fixed("gradient_checkpointing") is False:
        yield "gradient_checkpointing_kwargs needs gradient_checkpointing: true"


def _stop_when(stage: StageSchema) -> Iterator[str]:
    """Rules that no search of this stage can follow."""
    rule, sweep = stage.sweep.stop_when, stage.sweep
    if rule is None:
        return
    if stage.objective in _UP_TO_1 and rule.gain_below >= 1:
        yield (
            f"sweep.stop_when.gain_below: {stage.objective} is a share from 0 to 1, so every gain "
            f"is below {rule.gain_below:g} and the search would stop at once; 0.01 is a percentage "
            "point"
        )
    if class_name(sweep.sampler, SAMPLERS) in _GRIDS:
        yield (
            f"sweep.stop_when is for searches that draw their trials; sampler {sweep.sampler} "
            "tries a fixed list: leave stop_when out, or take another sampler"
        )
    elif sweep.trials <= _LEAST_COMPLETE or not stage.space():
        trials = sweep.trials if stage.space() else 1
        yield (
            f"sweep.stop_when needs {_LEAST_COMPLETE} complete trials before it can end a search, "
            f"so with {trials} trial{'' if trials == 1 else 's'} it never does: leave it out, or "
            f"give trials: {_LEAST_COMPLETE + 1} or more and a field to search"
        )


def _mapping(stage: StageSchema, name: str) -> Mapping[str, Any]:
    value = stage.fixed(name)
    return value if isinstance(value, Mapping) else {}
