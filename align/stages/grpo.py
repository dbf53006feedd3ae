"""Group-relative policy optimisation on rewards."""

from __future__ import annotations

from trl import GRPOConfig, GRPOTrainer

from align.stages.job import Job


def build(job: Job) -> GRPOTrainer:
    """TRL's GRPOTrainer with the recipe's rewards and their fixed weights."""
    stage = job.stage
    beta = {} if stage.beta is None else {"beta": stage.beta}
    return GRPOTrainer(
        model=job.model,
        reward_funcs=[function for _, _, function in job.rewards],
        args=GRPOConfig(
            **job.arguments(),
            **beta,
            reward_weights=[weight for _, weight, _ in job.rewards],
            num_generations=stage.num_generations,
            max_completion_length=stage.max_completion_length,
            temperature=stage.temperature,
        ),
        train_dataset=job.columns("prompt", "answer"),
        processing_class=job.tokenizer,
        peft_config=job.lora(),
    )
