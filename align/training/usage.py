"""A run's usage so far, over its segments and retries: seconds, memory, smaller batches."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from align.recipe import StageConfig
from align.training.train_record import OutOfMemory, TrainRecord, last_metrics

#: The metric of steps that changed nothing, if there are any.
SKIPPED = "train/skipped_steps"


class Costs:
    """Counts from its creation on, in addition to the newest checkpoint's record."""

    def __init__(self, before: TrainRecord | None, lengths: dict[str, int]):
        self._before, self._lengths = before, lengths
        self._retries = [] if before is None else list(before.out_of_memory)
        self._skipped: set[int] = set()
        self._started = time.perf_counter()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def ran_out(self, step: int, before: StageConfig, after: StageConfig) -> None:
        """Record that `step` ran out of memory, with the stage before and after."""
        self._retries.append(OutOfMemory(step=step, before=_batch(before), after=_batch(after)))

    def skip(self, step: int) -> None:
        """Record that `step` changed nothing; a step that is repeated counts once."""
        self._skipped.add(step)

    @property
    def skipped(self) -> list[int]:
        """The steps since creation that changed nothing."""
        return sorted(self._skipped)

    def record(
        self, stage: StageConfig, history: Sequence[Mapping[str, Any]], step: int
    ) -> TrainRecord:
        """The record of a checkpoint at `step`, from TRL's log `history`."""
        seconds = time.perf_counter() - self._started
        accelerator_seconds = seconds if torch.cuda.is_available() else 0.0
        peak, reserved = peak_bytes(), peak_reserved_bytes()
        skipped, earlier = len(self._skipped), self._before
        if earlier is not None:
            seconds += earlier.wall_seconds
            accelerator_seconds += earlier.accelerator_seconds
            peak = max(peak, earlier.peak_bytes)
            reserved = max(reserved, earlier.peak_reserved_bytes)
            skipped += earlier.skipped_steps
        rows, accumulation = _batch(stage)
        return TrainRecord(
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=accumulation,
            out_of_memory=list(self._retries),
            lengths=self._lengths,
            wall_seconds=seconds,
            accelerator_seconds=accelerator_seconds,
            peak_bytes=peak,
            peak_reserved_bytes=reserved,
            skipped_steps=skipped,
            metrics=last_metrics(history, step) | ({SKIPPED: float(skipped)} if skipped else {}),
        )


def peak_bytes() -> int:
    """Most memory held: by torch on the GPU since the run began, else by this process ever."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_reserved_bytes() -> int:
    """Most memory that torch took of the GPU since the run began, 0 without a GPU.

    Beside tensors it holds the gaps between them and the pool of CUDA graphs, whose tensors count
    as free between two captures.
    """
    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else 0


def _batch(stage: StageConfig) -> tuple[int, int]:
    return stage.per_device_train_batch_size, stage.gradient_accumulation_steps
