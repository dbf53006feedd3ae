"""Group-relative policy optimisation on rewards."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from align.methods.trainer_inputs import TrainerInputs


class ResumableGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPOTrainer, whose order of prompts is the same after a break in a later epoch."""

    def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
        sampler = super()._get_train_sampler(dataset)
        sampler.__class__ = _BySeedAndEpoch
        return sampler


class _BySeedAndEpoch(RepeatSampler):  # type: ignore[misc]
    """TRL's sampler draws on from epoch to epoch; a resumed run has not drawn the epochs before."""

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate as each epoch begins: this one's permutation comes next."""
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(epoch):
                torch.randperm(self.num_samples, generator=self.generator)


def build(job: TrainerInputs) -> GRPOTrainer:
    """TRL's GRPOTrainer with the recipe's rewards and their fixed weights.

    Completions come from `job.rollouts`; where that is None, from TRL's own `generate`. Rewards
    see every column of the rows.
    """
    config = GRPOConfig(**job.arguments(), reward_weights=[weight for _, weight, _ in job.rewards])
    with warnings.catch_warnings():
        # That `rollout_func` may change with TRL's next version is no news: TRL is pinned.
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        return ResumableGRPOTrainer(
            model=job.model,
            reward_funcs=[function for _, _, function in job.rewards],
            args=config,
            train_dataset=job.columns(*sorted({name for row in job.rows for name in row})),
            processing_class=job.tokenizer,
            peft_config=job.lora(),
            rollout_func=job.rollouts,
        )
