"""The record of a training run up to a checkpoint: `record.json` beside its tensors."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from align.errors import TrainingError

RECORD = "record.json"

#: Counters and positions that TRL logs: their means are meaningless.
_NO_MEANS = frozenset({"step", "epoch", "num_tokens", "total_flos"})


class OutOfMemory(BaseModel):
    """A step that ran out of memory, and (micro-batch, accumulation) before and after."""

    model_config = ConfigDict(extra="forbid")

    step: int
    before: tuple[int, int]
    after: tuple[int, int]


class TrainRecord(BaseModel):
    """A run from its first step to a checkpoint, over all its segments and retries.

    `per_device_train_batch_size` and `gradient_accumulation_steps` are those used in the end.
    `lengths` tells how many rows were too long. Seconds are those of training, without evaluation;
    `accelerator_seconds` are those with a CUDA device in use. `peak_bytes` is the peak of
    tensors on a GPU, on a CPU the process's largest resident size; `peak_reserved_bytes` is what
    torch's allocator took of the GPU, with gaps and CUDA graphs. `skipped_steps` is the number of
    steps that changed nothing, since gradients overflowed fp16. `stack_difference` (`mean`, `max`)
    is the difference between the trained stack and the published adapter in serving, in nats a
    token, for a reward model in units of its score; empty without an engine. `metrics` are means
    of what TRL logged over the last tenth of the steps, as `train/<name>`.
    """

    model_config = ConfigDict(extra="forbid")

    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    out_of_memory: list[OutOfMemory] = Field(default_factory=list)
    lengths: dict[str, int] = Field(default_factory=dict)
    wall_seconds: float = 0.0
    accelerator_seconds: float = 0.0
    peak_bytes: int = 0
    peak_reserved_bytes: int = 0
    skipped_steps: int = 0
    stack_difference: dict[str, float] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)


def read_record(checkpoint: Path) -> TrainRecord:
    """A checkpoint's record. TrainingError if it is missing or damaged."""
    path = checkpoint / RECORD
    try:
        return TrainRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise TrainingError(
            f"{path}: no readable record ({' '.join(str(error).split())}): the checkpoint is "
            "damaged or older than this version; delete the trial's folder and train again"
        ) from None


def write_record(checkpoint: Path, record: TrainRecord) -> None:
    """Write a checkpoint's record."""
    (checkpoint / RECORD).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def last_metrics(history: Sequence[Mapping[str, Any]], step: int) -> dict[str, float]:
    """Means over the last tenth of `step` steps (at least one) of TRL's log, finite values alone.

    `history` holds a mapping with its `step` for each logged step.
    """
    first_step = step - max(1, step // 10)
    values: dict[str, list[float]] = defaultdict(list)
    for logged in history:
        if first_step < logged["step"] <= step:
            for name, value in logged.items():
                if name in _NO_MEANS or value is None:
                    continue  # None: a reward failed on every completion
                if math.isfinite(value):
                    values[f"train/{name}"].append(float(value))
    return {name: fmean(finite) for name, finite in values.items()}
