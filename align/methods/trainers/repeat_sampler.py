"""TRL's sampler of prompts for online methods, with an order that a resumed run repeats."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from trl.trainer.utils import RepeatSampler


@cache
def resumable(trainer: type[Any]) -> type[Any]:
    """A subclass of GRPOTrainer or RLOOTrainer whose resumed runs see prompts in the same order.

    TRL's own sampler continues one random stream, and a resumed run has not drawn the earlier
    epochs.
    """

    class Resumable(trainer):  # type: ignore[misc]
        def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
            sampler = super()._get_train_sampler(dataset)
            return _BySeedAndEpoch(
                data_source=sampler.data_source,
                mini_repeat_count=sampler.mini_repeat_count,
                batch_size=sampler.batch_size,
                repeat_count=sampler.repeat_count,
                shuffle=sampler.shuffle,
                seed=sampler.seed,
            )

    return Resumable


class _BySeedAndEpoch(RepeatSampler):  # type: ignore[misc]
    """TRL's sampler with an order that depends only on seed and epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate as each epoch begins. The next permutation is that of `epoch`."""
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(epoch):
                torch.randperm(self.num_samples, generator=self.generator)
