"""Checks between a stage's fields, made before anything starts.

TRL makes most of these checks too, but in a worker, after its imports and the base were loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from align.recipe.field_paths import value_of
from align.recipe.trl_fields.installed import Method
from align.space import Interval
from align.space.spaces import Expression, Space

if TYPE_CHECKING:
    from align.recipe.stage import StageConfig


def complaints(stage: StageConfig) -> Iterator[str]:
    """Messages about everything that is wrong between the stage's fields.

    Searched and computed fields are not checked here, but when trials are resolved (`Recipe`).
    """
    yield from _length_and_rewards(stage)
    yield from _schedule(stage)
    yield from _loading(stage)
    yield from _BY_METHOD[stage.method](stage)


def _length_and_rewards(stage: StageConfig) -> Iterator[str]:
    if (stage.max_steps is None) == (stage.num_train_epochs is None):
        yield "name one of max_steps and num_train_epochs"
    if "reward_model" in stage.rewards and stage.reward_model is None:
        yield "reward 'reward_model' needs the field reward_model: <stage or adapter>"
    if stage.objective == "win_rate" and stage.reward_model is None:
        yield "objective 'win_rate' needs a judge: the field reward_model: <stage>"


def _schedule(stage: StageConfig) -> Iterator[str]:
    kind, options = _plain(stage, "lr_scheduler_type"), _mapping(stage, "lr_scheduler_kwargs")
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


def _warmup(stage: StageConfig) -> Iterator[str]:
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


def _loading(stage: StageConfig) -> Iterator[str]:
    if not _plain(stage, "dataloader_num_workers"):
        for name in ("dataloader_prefetch_factor", "dataloader_persistent_workers"):
            if _plain(stage, name):
                yield f"{name} needs dataloader_num_workers from 1 on"
    checkpointing = _mapping(stage, "gradient_checkpointing_kwargs")
    if checkpointing.get("use_reentrant"):
        yield (
            "gradient_checkpointing_kwargs: use_reentrant finds no gradient below a frozen base; "
            "leave it out"
        )
    if checkpointing and _plain(stage, "gradient_checkpointing") is False:
        yield "gradient_checkpointing_kwargs needs gradient_checkpointing: true"


def _sft(stage: StageConfig) -> Iterator[str]:
    packing = _plain(stage, "packing")
    if packing and stage.num_train_epochs is not None:
        yield (
            "packing: how many rows share a sequence is not known before they are tokenised, so "
            "epochs cannot be counted in steps; use max_steps instead of num_train_epochs"
        )
    if _plain(stage, "padding_free") and packing is False:
        yield "padding_free needs packing: true; without it TRL would not hold max_length"
    if "packing_strategy" in (stage.model_extra or {}) and packing is False:
        yield "packing_strategy needs packing: true"
    if packing and _plain(stage, "packing_strategy") == "wrapped":
        yield (
            "packing_strategy 'wrapped' lets rows see each other and cuts them anywhere; "
            "take bfd or bfd_split"
        )


def _dpo(stage: StageConfig) -> Iterator[str]:
    if _plain(stage, "padding_free"):
        yield "padding_free is switched off in this TRL's DPO; leave it out"
    loss = _plain(stage, "loss_type")
    if _searched(stage, "loss_type"):
        return
    losses = [loss] if isinstance(loss, str) else list(loss or ())
    weights = _plain(stage, "loss_weights")
    if weights is not None and losses and len(weights) != len(losses):
        yield f"loss_weights has {len(weights)} numbers for {len(losses)} of loss_type"
    if _plain(stage, "use_weighting") and {"aot", "aot_unpaired"} & set(losses):
        yield "use_weighting does not go with loss_type aot or aot_unpaired, which sort the pairs"
    if "exo_pair" in losses and _plain(stage, "label_smoothing") == 0:
        yield "loss_type 'exo_pair' needs label_smoothing above 0, e.g. 0.001"
    alone = {"nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down"}
    divergence = _plain(stage, "f_divergence_type")
    if divergence not in (None, "reverse_kl") and alone & set(losses):
        yield (
            f"f_divergence_type '{divergence}' does not go with loss_type "
            f"{', '.join(sorted(alone & set(losses)))}; leave it out"
        )


def _kto(stage: StageConfig) -> Iterator[str]:
    if _searched(stage, "loss_type") or _plain(stage, "loss_type") == "apo_zero_unpaired":
        return
    if (_plain(stage, "per_device_train_batch_size") or 2) < 2:
        yield (
            "kto needs per_device_train_batch_size from 2 on: it estimates the KL term by pairing "
            "each prompt with its neighbour's answer; or take loss_type: apo_zero_unpaired"
        )
    if (order := _plain(stage, "train_sampling_strategy")) not in (None, "sequential"):
        yield (
            f"train_sampling_strategy '{order}' breaks the pairs that kto's KL term is estimated "
            "from; leave it out"
        )


def _grpo(stage: StageConfig) -> Iterator[str]:
    if not stage.rewards:
        yield "grpo needs rewards, e.g. {correctness: 1.0, brevity: 0.2}"
    if _searched(stage, *_SIZES, *_BATCHES):
        return
    size, batch = stage.per_device_train_batch_size, stage.generation_batch
    named_sizes = [name for name in _SIZES if stage.trl_value(name) is not None]
    if len(named_sizes) == 2:
        yield f"name one of {' and '.join(named_sizes)}: each follows from the other"
        return
    if batch % size:
        yield (
            f"per_device_train_batch_size {size} must divide the {batch} completions of "
            "generation_batch_size"
        )
        return
    if batch % stage.num_generations:
        made_of = named_sizes[0] if named_sizes else "gradient_accumulation_steps"
        product = made_of if made_of == _SIZES[0] else f"per_device_train_batch_size * {made_of}"
        yield (
            f"num_generations {stage.num_generations} must divide the {batch} completions that "
            f"are written at a time ({product})"
        )
    yield from _boundaries(stage)


_SIZES = ("generation_batch_size", "steps_per_generation")
_BATCHES = (
    "per_device_train_batch_size", "gradient_accumulation_steps", "num_generations",
    "num_iterations",
)  # fmt: skip


def _boundaries(stage: StageConfig) -> Iterator[str]:
    period = stage.generation_period
    fields = {"sweep.rungs": stage.sweep.rungs, "save_steps": [stage.save_steps or period]}
    for name, steps in fields.items():
        if refused := [step for step in steps if step % period]:
            yield (
                f"{name}: {', '.join(map(str, refused))}: completions are used for {period} steps "
                "(steps_per_generation * num_iterations / gradient_accumulation_steps) and are not "
                f"saved, so a stage can only go on from multiples of {period}"
            )


def _none(_stage: StageConfig) -> Iterator[str]:
    return iter(())


_BY_METHOD: dict[Method, Callable[[StageConfig], Iterator[str]]] = {
    "sft": _sft,
    "reward": _none,
    "dpo": _dpo,
    "kto": _kto,
    "grpo": _grpo,
}


def _searched(stage: StageConfig, *names: str) -> bool:
    """Whether any of the fields is searched or computed."""
    return any(isinstance(value_of(stage, name), Space | Expression) for name in names)


def _plain(stage: StageConfig, name: str) -> Any:
    """The field's value in the stage or TRL's config; None if it is searched or computed."""
    value = value_of(stage, name)
    return None if isinstance(value, Space | Expression) else value


def _mapping(stage: StageConfig, name: str) -> Mapping[str, Any]:
    value = _plain(stage, name)
    return value if isinstance(value, Mapping) else {}
