"""Direct preference optimisation against the parent."""

from __future__ import annotations

from trl import DPOConfig, DPOTrainer

from align.data.prepared import Prepared
from align.methods.trainer_inputs import TrainerInputs


class PreparedDPOTrainer(Prepared, DPOTrainer):  # type: ignore[misc]
    """TRL's DPOTrainer, with rows that are tokenised once and shared by all trials."""


def build(job: TrainerInputs) -> DPOTrainer:
    """TRL's DPOTrainer; the reference is the parent: the model with the new adapter off."""
    return PreparedDPOTrainer(
        model=job.model,
        args=DPOConfig(**job.arguments()),
        train_dataset=job.columns("prompt", "chosen", "rejected"),
        processing_class=job.tokenizer,
        peft_config=job.lora(),
    )
