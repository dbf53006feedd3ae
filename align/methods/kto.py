"""Kahneman-Tversky optimisation, on single answers labelled good or bad."""

from __future__ import annotations

from trl import KTOConfig, KTOTrainer

from align.data.prepared import Prepared
from align.methods.trainer_inputs import TrainerInputs


class PreparedKTOTrainer(Prepared, KTOTrainer):  # type: ignore[misc]
    """TRL's KTOTrainer, with rows that are tokenised once and shared by all trials."""


def build(job: TrainerInputs) -> KTOTrainer:
    """TRL's KTOTrainer; the reference is the parent: the model with the new adapter off.

    TRL keeps the order of the rows, since it pairs each prompt with the completion of its
    neighbour in the micro-batch. Labels are mixed: rows of a file are ordered by their hashes,
    rows of the built-in task are drawn at random.
    """
    return PreparedKTOTrainer(
        model=job.model,
        args=KTOConfig(**job.arguments()),
        train_dataset=job.columns("prompt", "completion", "label"),
        processing_class=job.tokenizer,
        peft_config=job.lora(),
    )
