"""Reward modelling on pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from align.methods.specification import Draft, Fate, Method

if TYPE_CHECKING:
    from align.methods.trainers.trainer_inputs import TrainerInputs


class Reward(Method):
    """TRL's RewardTrainer on the shared backbone with a new scalar head."""

    name = "reward"
    order = 1
    title = "Reward model: learn which answer of a pair people prefer."
    description = "reward modelling on pairs of answers"
    config_file, config_class = "trainer/reward_config.py", "RewardConfig"
    objectives = ("pair_accuracy",)
    measured = ("pairs",)
    rung_metric = "pair_loss"
    formats = drafted_from = ("preference",)
    task_format, task_stream = "preference", 1
    sides = ("chosen", "rejected")
    preferential = True
    left_out_because = "a pair is left out if either side is longer"
    preparation_fields = ("dataset_num_proc", "max_length")
    trains_reward_model = True
    sequences = 2
    learning_rates = ("1.0e-5", "1.0e-4", "1.0e-3")
    draft_parents = ("sft",)

    def trainer(self, inputs: TrainerInputs) -> Any:
        from trl import RewardConfig, RewardTrainer

        from align.methods.trainers.prepared import prepared
        from align.methods.trainers.sequence_classifier import with_head

        return prepared(RewardTrainer, self.preparation_fields)(
            model=with_head(inputs.model, inputs.tokenizer.pad_token_id, inputs.seed),
            args=RewardConfig(**inputs.arguments()),
            train_dataset=inputs.columns("prompt", "chosen", "rejected", "tools"),
            processing_class=inputs.tokenizer,
            peft_config=inputs.lora("SEQ_CLS", save=["score"]),
        )

    def fate(self, _prompt: int, longest: int, limit: int, _options: Mapping[str, Any]) -> Fate:
        return "left out" if longest > limit else "whole"

    def draft_objective(self, _draft: Draft) -> str:
        return "pair_accuracy  # how often the chosen answer of a held-out pair scores higher"


METHOD = Reward()
