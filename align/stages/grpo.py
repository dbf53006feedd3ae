"""Group-relative policy optimisation on rewards."""

from __future__ import annotations

import warnings

from trl import GRPOConfig, GRPOTrainer

from align.stages.job import Job


def build(job: Job) -> GRPOTrainer:
    """TRL's GRPOTrainer with the recipe's rewards and their fixed weights.

    Completions come from `job.rollouts`; where that is None, from TRL's own `generate`.
    """
    stage = job.stage
    beta = {} if stage.beta is None else {"beta": stage.beta}
    config = GRPOConfig(
        **job.arguments(),
        **beta,
        reward_weights=[weight for _, weight, _ in job.rewards],
        num_generations=stage.num_generations,
        max_completion_length=stage.max_completion_length,
        temperature=stage.temperature,
    )
    with warnings.catch_warnings():
        # That `rollout_func` may change with TRL's next version is no news: TRL is pinned.
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        return GRPOTrainer(
            model=job.model,
            reward_funcs=[function for _, _, function in job.rewards],
            args=config,
            train_dataset=job.columns("prompt", "answer"),
            processing_class=job.tokenizer,
            peft_config=job.lora(),
            rollout_func=job.rollouts,
        )
