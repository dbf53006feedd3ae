"""Smaller micro-batches for the same effective batch. Pure: no torch, no TRL."""

from __future__ import annotations

from math import gcd

from align.recipe import StageConfig


def halved(per_device: int, accumulation: int, least: int = 1) -> tuple[int, int] | None:
    """A micro-batch of at most half the rows and the accumulation that keeps the product.

    None where no micro-batch of `least` rows or more is left. Half of an odd number is the next
    smaller divisor of the product: (6, 1) → (3, 2) → (1, 6).
    """
    rows = per_device * accumulation
    for size in range(per_device // 2, least - 1, -1):
        if rows % size == 0:
            return size, rows // size
    return None


def smaller(stage: StageConfig) -> StageConfig | None:
    """The resolved `stage` with its micro-batch halved; None if it cannot be smaller."""
    size = stage.per_device_train_batch_size
    sizes = halved(size, divided_rows(stage) // size, least_rows(stage))
    return None if sizes is None else sized(stage, sizes[0])


def sized(stage: StageConfig, per_device: int) -> StageConfig:
    """`stage` with micro-batches of `per_device` rows, which must divide the effective batch.

    GRPO's generation batch stays too: `steps_per_generation` counts micro-batches.
    """
    changed = {
        "per_device_train_batch_size": per_device,
        "gradient_accumulation_steps": stage.completions_per_step // per_device,
    }
    if stage.method == "grpo" and stage.trl_value("steps_per_generation") is not None:
        changed["steps_per_generation"] = stage.generation_batch // per_device
    return stage.model_copy(update=changed)


def divided_rows(stage: StageConfig) -> int:
    """Rows that every micro-batch of the resolved `stage` must divide.

    These are an optimizer step's rows; GRPO's generation batch must hold whole micro-batches too.
    """
    rows = stage.completions_per_step
    return gcd(rows, stage.generation_batch) if stage.method == "grpo" else rows


def least_rows(stage: StageConfig) -> int:
    """The smallest micro-batch.

    KTO estimates its KL term by pairing each prompt with a neighbour's completion.
    """
    paired = stage.method == "kto" and stage.trl_value("loss_type") != "apo_zero_unpaired"
    return 2 if paired else 1
