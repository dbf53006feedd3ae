"""Supervised fine-tuning on completions."""

from __future__ import annotations

from trl import SFTConfig, SFTTrainer

from align.data.prepared import Prepared
from align.methods.trainer_inputs import TrainerInputs


class PreparedSFTTrainer(Prepared, SFTTrainer):  # type: ignore[misc]
    """TRL's SFTTrainer, with rows that are tokenised once and shared by all trials."""


def build(job: TrainerInputs) -> SFTTrainer:
    """TRL's SFTTrainer; the loss is on the completion only, unless the recipe says otherwise."""
    return PreparedSFTTrainer(
        model=job.model,
        args=SFTConfig(**{"completion_only_loss": True, **job.arguments()}),
        train_dataset=job.columns("prompt", "completion"),
        processing_class=job.tokenizer,
        peft_config=job.lora(),
    )
