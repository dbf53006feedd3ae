"""One run of a stage: what stays the same over its retries."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from align.adapters.base_name import public_base
from align.adapters.stacked_parent import put_beneath
from align.adapters.tensors import LoraFactors, read_factors, write_factors
from align.base import Base
from align.compat.missing_scaler import ignore_missing_scaler
from align.data.user_rows import Row
from align.errors import AdapterError, TrainingError
from align.fp16 import lora_in_fp32
from align.inference import Engine
from align.methods.specification import RewardFunction
from align.methods.trainers.rollouts import Rollouts
from align.methods.trainers.trainer_inputs import TrainerInputs
from align.recipe import StageConfig
from align.recipe.trl_fields.installed import trl_refusals
from align.training.callbacks import OnCheckpoint, OnStep
from align.training.checkpoints import PUBLISHED, STATE, make_visible
from align.training.loss_scale import lower_first_scale
from align.training.publish_drift import stack_difference
from align.training.reference_logprobs import give_reference, reference_of
from align.training.train_record import write_record
from align.training.usage import Costs


@dataclass(frozen=True)
class Attempt:
    """A run's data, parent, folder and last step.

    The stage is a parameter of the methods, since its micro-batch may change between retries. The
    run ends at step `to` of `steps`. `parent_id` is the parent's adapter id. `on_begin` is called
    as the first step begins, `on_checkpoint` with the step of each checkpoint before `to`.
    """

    base: Base
    rows: list[Row]
    folder: Path
    to: int
    steps: int
    seed: int
    parent: LoraFactors | None
    parent_id: str | None
    rewards: list[tuple[str, float, RewardFunction]]
    engine: Engine | None
    on_step: OnStep | None
    on_begin: Callable[[], None] | None
    on_checkpoint: OnCheckpoint | None
    costs: Costs

    def rollouts(self, stage: StageConfig) -> Rollouts | None:
        """Generates an online method's completions; None if TRL does, and for other methods."""
        if not stage.training_method.online or self.engine is None:
            return None
        return Rollouts(self.engine, self.parent)

    def trainer(self, stage: StageConfig, work: Path, rollouts: Rollouts | None) -> Any:
        """A TRL trainer on a shell of the base, with the parent beneath its new adapter.

        RecipeError if TRL refuses the stage.
        """
        model, tokenizer = self.base.shell(), copy.deepcopy(self.base.tokenizer)
        if self.parent is not None:
            put_beneath(model, self.parent)
        inputs = TrainerInputs(
            model=model,
            tokenizer=tokenizer,
            stage=stage,
            steps=self.steps,
            rows=self.rows,
            output=work,
            seed=self.seed,
            rewards=self.rewards,
            rollouts=rollouts,
        )
        set_seed(self.seed)
        with trl_refusals(stage.method):
            trainer = stage.training_method.trainer(inputs)
        lora_in_fp32(trainer.model)
        lower_first_scale(trainer)
        ignore_missing_scaler(trainer)
        if stage.training_method.precomputes_reference:
            reference = reference_of(trainer, self.base.digest, self.parent_id)
            give_reference(trainer, reference, self.to)
        return trainer

    def save(self, stage: StageConfig, trainer: Any, work: Path, step: int) -> None:
        """Make a checkpoint from the files that TRL has just saved in `work`.

        TrainingError if the weights are not finite.
        """
        saved, fresh = work / f"checkpoint-{step}", work / "step"
        try:
            published = read_factors(saved).stacked_on(self.parent)
        except AdapterError as error:
            raise TrainingError(
                f"step {step}: the trained weights are not finite ({error}): the learning rate is "
                "probably too high; lower learning_rate"
            ) from None
        fresh.mkdir()
        name = public_base(self.base.ref, self.base.digest, self.base.revision)
        write_factors(fresh / PUBLISHED, published, *name)
        record = self.costs.record(stage, trainer.state.log_history, step)
        if step >= self.to and self.engine is not None:
            record.stack_difference = stack_difference(
                trainer, self.engine, published, self.rows, stage.max_length
            )
        write_record(fresh, record)
        saved.rename(fresh / STATE)
        make_visible(fresh, self.folder, step)
        if self.on_checkpoint is not None and step < self.to:
            self.on_checkpoint(step)
