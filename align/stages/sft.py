"""Supervised fine-tuning on completions."""

from __future__ import annotations

from trl import SFTConfig, SFTTrainer

from align.stages.job import Job


def build(job: Job) -> SFTTrainer:
    """TRL's SFTTrainer; the loss is taken on the completion alone."""
    return SFTTrainer(
        model=job.model,
        args=SFTConfig(
            **job.arguments(), max_length=job.stage.max_length, completion_only_loss=True
        ),
        train_dataset=job.columns("prompt", "completion"),
        processing_class=job.tokenizer,
        peft_config=job.lora(),
    )
