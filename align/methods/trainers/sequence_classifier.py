"""A reward model: the backbone of a language model with a scalar head."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, set_seed


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
