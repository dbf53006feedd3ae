"""Training one adapter, from its newest checkpoint to a given step.

A checkpoint is a folder `step_%06d` that holds TRL's own state and, in `published/`, the adapter
as it would be served: the parent's LoRA and the new one as one.
"""

from __future__ import annotations

import logging
import math
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, set_seed

from align.adapter.beneath import put_beneath
from align.adapter.tensors import read_factors, write_factors
from align.base import Base
from align.errors import TrainingError
from align.inference import Engine
from align.recipe import StageConfig
from align.recipe.model import Method
from align.recipe.rows import Row
from align.stages.compact import compact_logits
from align.stages.job import Job, RewardFunction
from align.stages.rollouts import Rollouts

PUBLISHED = "published"


def newest_checkpoint(folder: Path) -> tuple[int, Path | None]:
    """(step, folder) of the newest whole checkpoint; (0, None) where there is none."""
    found = sorted(folder.glob("step_*"))
    return (int(found[-1].name.removeprefix("step_")), found[-1]) if found else (0, None)


def train(
    base: Base,
    stage: StageConfig,
    rows: list[Row],
    folder: Path,
    *,
    to: int,
    steps: int,
    seed: int,
    parent: Path | None = None,
    rewards: list[tuple[str, float, RewardFunction]] | None = None,
    engine: Engine | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train up to step `to` of `steps`; the checkpoint there.

    `stage` is resolved. Continues from the newest checkpoint in `folder`; nothing is done if it
    is at `to` or beyond. GRPO takes `rewards`, and writes its completions on `engine`, which must
    be on the same base; without one TRL writes them. TrainingError if the loss is not finite.
    """
    done, checkpoint = newest_checkpoint(folder)
    if checkpoint is not None and done >= to:
        return checkpoint
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / f".work-{uuid.uuid4().hex}"
    parent_factors = read_factors(parent) if parent else None
    model = base.shell()
    if parent_factors is not None:
        put_beneath(model, parent_factors)
    tokenizer = type(base.tokenizer).from_pretrained(base.tokenizer.name_or_path)
    tokenizer.pad_token = base.tokenizer.pad_token
    rollouts = None if engine is None else Rollouts(engine, parent_factors)
    job = Job(model, tokenizer, stage, steps, rows, work, seed, rewards or [], rollouts)
    set_seed(seed)
    try:
        with compact_logits():
            trainer = _build(stage.method, job)
            trainer.add_callback(_Until(to, on_step))
            resume = str(checkpoint / "state") if checkpoint else None
            trainer.train(resume_from_checkpoint=resume)
        saved = work / f"checkpoint-{to}"
        factors = read_factors(saved).stacked_on(parent_factors)
        fresh = work / "step"
        fresh.mkdir()
        saved.rename(fresh / "state")
        write_factors(fresh / PUBLISHED, factors, base.ref)
        target = folder / f"step_{to:06d}"
        fresh.rename(target)
    finally:
        if rollouts is not None:
            rollouts.close()
        shutil.rmtree(work, ignore_errors=True)
    if checkpoint is not None:
        shutil.rmtree(checkpoint, ignore_errors=True)
    return target


def _build(method: Method, job: Job) -> Any:
    """The method's TRL trainer; each module is imported by the worker that needs it."""
    if method == "sft":
        from align.stages.sft import build as sft

        return sft(job)
    if method == "reward":
        from align.stages.reward import build as reward

        return reward(job)
    if method == "dpo":
        from align.stages.dpo import build as dpo

        return dpo(job)
    from align.stages.grpo import build as grpo

    return grpo(job)


class _Until(TrainerCallback):  # type: ignore[misc]
    """Stops and saves at a step, and at once if the loss is no number."""

    def __init__(self, to: int, on_step: Callable[[int, dict[str, float]], None] | None):
        self._to, self._on_step = to, on_step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.global_step >= self._to:
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        for name in ("loss", "grad_norm"):
            value = (logs or {}).get(name, 0.0)
            if not math.isfinite(float(value)):
                raise TrainingError(
                    f"{name} became {value} at step {state.global_step}: "
                    "the learning rate is probably too high"
                )
        if self._on_step is not None and logs and "loss" in logs:
            numbers = {key: float(value) for key, value in logs.items()}
            self._on_step(state.global_step, numbers)


for _name in ("transformers", "trl", "datasets", "accelerate"):
    logging.getLogger(_name).setLevel(logging.ERROR)
