"""Reward modelling on pairs."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, set_seed
from trl import RewardConfig, RewardTrainer

from align.data.prepared import Prepared
from align.methods.trainer_inputs import TrainerInputs


class PreparedRewardTrainer(Prepared, RewardTrainer):  # type: ignore[misc]
    """TRL's RewardTrainer, with rows that are tokenised once and shared by all trials."""


def build(job: TrainerInputs) -> RewardTrainer:
    """TRL's RewardTrainer on the shared backbone with a new scalar head."""
    return PreparedRewardTrainer(
        model=with_head(job.model, job.tokenizer.pad_token_id, job.seed),
        args=RewardConfig(**job.arguments()),
        train_dataset=job.columns("prompt", "chosen", "rejected"),
        processing_class=job.tokenizer,
        peft_config=job.lora("SEQ_CLS", save=["score"]),
    )


def with_head(model: Any, pad_token_id: int, seed: int) -> Any:
    """A sequence classifier with a single label that shares the backbone of `model`."""
    config = type(model.config).from_dict(model.config.to_dict())
    config.num_labels, config.pad_token_id = 1, pad_token_id
    with torch.device("meta"):
        classifier = AutoModelForSequenceClassification.from_config(config)
    setattr(classifier, classifier.base_model_prefix, model.base_model)
    weight = model.get_input_embeddings().weight
    set_seed(seed)
    # fp32, like all trained weights: a half-precision head loses small updates, and GradScaler
    # refuses fp16 gradients.
    classifier.score = torch.nn.Linear(weight.shape[1], 1, bias=False, device=weight.device)
    torch.nn.init.normal_(classifier.score.weight, std=config.initializer_range)
    return classifier
