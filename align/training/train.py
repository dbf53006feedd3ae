"""Trains an adapter, from its newest checkpoint to a given step.

`align.training.checkpoints` says what a checkpoint holds.
"""

from __future__ import annotations

import gc
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from transformers import PrinterCallback

from align.adapters.folder import published_id
from align.base import Base
from align.compat.equal_heads import equal_heads, needs_equal_heads
from align.compat.torch_attention import short_attention
from align.compat.trl_logits import compact_logits
from align.data.lengths import measure_lengths, trainable
from align.data.user_rows import Row
from align.errors import RecipeError, TrainingError
from align.inference import Engine
from align.memory.oom_backoff import sized, smaller
from align.memory.workload import has_dropout
from align.methods.specification import RewardFunction
from align.methods.trainers.rollouts import Rollouts, engine_ran_out
from align.out_of_memory import in_engine, ran_out
from align.precision import capability
from align.recipe import StageConfig
from align.training.attempt import Attempt
from align.training.callbacks import CheckpointCallback, DivergenceCallback, OnCheckpoint, OnStep
from align.training.checkpoints import PUBLISHED, STATE, new_work_folder, newest_checkpoint
from align.training.logging_utils import quiet
from align.training.parents import read_parent
from align.training.train_record import read_record
from align.training.usage import Costs

__all__ = ["PUBLISHED", "newest_checkpoint", "train"]

_log = logging.getLogger(__name__)


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
    on_step: OnStep | None = None,
    on_begin: Callable[[], None] | None = None,
    on_checkpoint: OnCheckpoint | None = None,
) -> Path:
    """Train up to step `to` of `steps`; returns the checkpoint of that step.

    `stage` is resolved. Continues from the newest checkpoint in `folder`; nothing is done if it
    is at `to` or beyond. Online methods take `rewards`, and write their completions on `engine`,
    which must be on the same base; without an engine TRL writes them. A run that is out of memory
    continues from its newest checkpoint with smaller micro-batches, and calls `on_step` for the
    steps since then again.
    `on_begin` is called when all is loaded and the first step begins, `on_checkpoint` with the
    step of each checkpoint before `to`.

    RecipeError if TRL refuses the stage, AdapterError if the parent does not fit, DataError if no
    row is short enough, TrainingError if loss or gradients are not finite or memory does not
    suffice for the smallest micro-batch.
    """
    newest_step, checkpoint = newest_checkpoint(folder)
    if checkpoint is not None and newest_step >= to:
        return checkpoint
    factors = read_parent(parent, base, stage.lora)
    record = None if checkpoint is None else read_record(checkpoint)
    if record is not None:
        stage = sized(stage, record.per_device_train_batch_size)
    lengths = _lengths(base, stage, rows, engine) if record is None else record.lengths
    run = Attempt(
        base=base,
        rows=trainable(base.tokenizer, rows, stage.method, stage.max_length, stage.trl()),
        folder=folder,
        to=to,
        steps=steps,
        seed=seed,
        parent=factors,
        parent_id=None if parent is None else published_id(parent),
        rewards=rewards or [],
        engine=engine,
        on_step=on_step,
        on_begin=on_begin,
        on_checkpoint=on_checkpoint,
        costs=Costs(record, lengths),
    )
    while (step := _attempt(run, stage)) is not None:
        stage = _with_less(run, stage, step)
    if skipped := run.costs.skipped:
        _log.warning(
            "gradients overflowed fp16 at %d steps, which changed nothing: %s",
            *(len(skipped), ", ".join(map(str, skipped[:10])) + ("…" if skipped[10:] else "")),
        )
    newest_step, checkpoint = newest_checkpoint(folder)
    assert checkpoint is not None  # an attempt that ends has saved its last step
    return checkpoint


def _attempt(run: Attempt, stage: StageConfig) -> int | None:
    """Train to the end; returns the step that ran out of memory, None if none did.

    TrainingError if the engine ran out of memory: a smaller micro-batch would not help it.
    """
    divergence = DivergenceCallback(run.on_step, run.on_begin, run.costs.skip)
    try:
        _train(run, stage, divergence)
        failed_step, engine_failed = None, False
    except RuntimeError as error:
        if not ran_out(error):
            raise
        failed_step, engine_failed = divergence.step, in_engine(error)
    on_cuda = torch.cuda.is_available()
    if failed_step is not None or on_cuda:
        gc.collect()  # only now, as the error's traceback held the trainer
    if on_cuda:
        torch.cuda.empty_cache()
    if failed_step is not None and engine_failed:
        raise TrainingError(engine_ran_out(failed_step, "loads weights or scores answers"))
    return failed_step


def _train(run: Attempt, stage: StageConfig, divergence: DivergenceCallback) -> None:
    newest_step, checkpoint = newest_checkpoint(run.folder)
    divergence.step = newest_step + 1
    work, rollouts = new_work_folder(run.folder), run.rollouts(stage)
    try:
        heads = equal_heads(needs_equal_heads(capability()))
        with quiet(), compact_logits(), heads, short_attention():
            trainer = run.trainer(stage, work, rollouts)
            trainer.remove_callback(PrinterCallback)
            trainer.add_callback(divergence)
            save = partial(run.save, stage, trainer, work)
            trainer.add_callback(CheckpointCallback(run.to, stage.save_steps, save))
            with disable_input_dtype_casting(
                trainer.model, _casts_itself(stage, trainer, rollouts)
            ):
                trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint / STATE))
    except ImportError as error:  # an optimizer's package, imported only now
        raise RecipeError(
            f"a field of this {stage.method} stage needs a package: {error}"
        ) from None
    finally:
        if rollouts is not None:
            rollouts.close()
        shutil.rmtree(work, ignore_errors=True)


def _casts_itself(stage: StageConfig, trainer: Any, rollouts: Rollouts | None) -> bool:
    """Whether autocast casts the inputs of LoRA, so that PEFT need not cast them to fp32 first.

    The results are the same bits. With dropout they are not: it would round in half precision. TRL
    writes completions without autocast.
    """
    mixed = trainer.args.bf16 or trainer.args.fp16
    written_by_trl = stage.training_method.online and rollouts is None
    return mixed and not has_dropout(stage) and not written_by_trl


def _with_less(run: Attempt, stage: StageConfig, step: int) -> StageConfig:
    """The stage with smaller micro-batches. TrainingError if they cannot be smaller."""
    smaller_stage, rows = smaller(stage), stage.per_device_train_batch_size
    if smaller_stage is None:
        raise TrainingError(
            f"step {step}: out of memory even with per_device_train_batch_size {rows}: set "
            f"gradient_checkpointing: true, or lower {stage.training_method.length_field} or "
            "lora.r; `alignery recipe fit` tells what a GPU holds"
        )
    run.costs.ran_out(step, stage, smaller_stage)
    _log.warning(
        "step %d: out of memory with per_device_train_batch_size %d; going on with %d, and as "
        "many more accumulation steps",
        step,
        rows,
        smaller_stage.per_device_train_batch_size,
    )
    return smaller_stage


def _lengths(
    base: Base, stage: StageConfig, rows: list[Row], engine: Engine | None
) -> dict[str, int]:
    """The rows' lengths; logs a warning if rows are too long."""
    limit = stage.max_length
    if stage.training_method.online:
        context_length = base.model.config.max_position_embeddings
        limit = (
            context_length if engine is None else engine.context_length
        ) - stage.max_completion_length
    lengths = measure_lengths(base.tokenizer, rows, stage.method, limit, stage.trl())
    if sentence := lengths.sentence():
        _log.warning("%s", sentence)
    return asdict(lengths)
