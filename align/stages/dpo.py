"""Direct preference optimisation against the parent."""

from __future__ import annotations

from trl import DPOConfig, DPOTrainer

from align.stages.job import Job


def build(job: Job) -> DPOTrainer:
    """TRL's DPOTrainer; its reference is the model with the new adapter off: the parent."""
    beta = {} if job.stage.beta is None else {"beta": job.stage.beta}
    return DPOTrainer(
        model=job.model,
        args=DPOConfig(**job.arguments(), **beta, max_length=job.stage.max_length),
        train_dataset=job.columns("prompt", "chosen", "rejected"),
        processing_class=job.tokenizer,
        peft_config=job.lora(),
    )
