"""Group-relative policy optimisation on rewards."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from align.methods.trainer_inputs import TrainerInputs


class ResumableGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPOTrainer; a run resumed in a later epoch sees the prompts in the same order."""

    def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
        sampler = super()._get_train_sampler(dataset)
        return _BySeedAndEpoch(
            sampler.data_source,
            mini_repeat_count=sampler.mini_repeat_count,
            batch_size=sampler.batch_size,
            repeat_count=sampler.repeat_count,
            shuffle=sampler.shuffle,
            seed=sampler.seed,
        )


class _BySeedAndEpoch(RepeatSampler):  # type: ignore[misc]
    """TRL's sampler with an order that depends only on seed and epoch.

    TRL's own continues one random stream, and a resumed run has not drawn the earlier epochs.
    """

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate as each epoch begins. The next permutation is that of `epoch`."""
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(epoch):
                torch.randperm(self.num_samples, generator=self.generator)


def build(job: TrainerInputs) -> GRPOTrainer:
    """TRL's GRPOTrainer with the recipe's rewards and their fixed weights.

    Completions come from `job.rollouts`, or from TRL's own `generate` if it is None. Rewards get
    every column of the rows.
    """
    config = GRPOConfig(**job.arguments(), reward_weights=[weight for _, weight, _ in job.rewards])
    with warnings.catch_warnings():
        # TRL warns that `rollout_func` may change in its next version; TRL is pinned.
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
