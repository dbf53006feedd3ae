"""Kahneman-Tversky optimisation: answers that are good or bad each by itself."""

from __future__ import annotations

from trl import KTOConfig, KTOTrainer

from align.data.prepared import Prepared
from align.methods.trainer_inputs import TrainerInputs


class PreparedKTOTrainer(Prepared, KTOTrainer):  # type: ignore[misc]
    """TRL's, with rows that are tokenised once for all trials."""


def build(job: TrainerInputs) -> KTOTrainer:
    """TRL's KTOTrainer; its reference is the model with the new adapter off: the parent.

    TRL takes the rows in their order, since it pairs each prompt with the completion of its
    neighbour in the micro-batch. That order is the hash of the prompts, so labels are mixed.
    """
    return PreparedKTOTrainer(
        model=job.model,
        args=KTOConfig(**job.arguments()),
        train_dataset=job.columns("prompt", "completion", "label"),
        processing_class=job.tokenizer,
        peft_config=job.lora(),
    )
