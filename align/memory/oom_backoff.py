"""Smaller micro-batches for the same effective batch. Pure: no torch, no TRL."""

from __future__ import annotations

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
    method = stage.training_method
    sizes = halved(size, method.divided_rows(stage) // size, method.least_rows(stage))
    return None if sizes is None else sized(stage, sizes[0])


def sized(stage: StageConfig, per_device: int) -> StageConfig:
    """`stage` with micro-batches of `per_device` rows, which must divide the effective batch."""
    changed = {
        "per_device_train_batch_size": per_device,
        "gradient_accumulation_steps": stage.completions_per_step // per_device,
    }
    changed |= stage.training_method.resized(stage, per_device)
    return stage.model_copy(update=changed)
