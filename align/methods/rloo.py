"""REINFORCE with a leave-one-out baseline (arXiv 2402.14740), on rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from align.methods.online import OnlineMethod, trainer_arguments

if TYPE_CHECKING:
    from align.methods.trainers.trainer_inputs import TrainerInputs


class Rloo(OnlineMethod):
    """TRL's RLOOTrainer with the recipe's rewards and their fixed weights."""

    name = "rloo"
    order = 6
    title = "REINFORCE leave-one-out: try, and reinforce what beats the other completions' mean."
    description = "REINFORCE with a leave-one-out baseline on rewards"
    config_file, config_class = "trainer/rloo_config.py", "RLOOConfig"
    renders_tools = False
    task_stream = 5
    draft_beta = "    beta: {choice: [0.0, 0.01, 0.05]}  # weight of the KL penalty in the reward"

    def trainer(self, inputs: TrainerInputs) -> Any:
        """Completions come from `inputs.rollouts`, or from TRL's own `generate` if it is None."""
        from trl import RLOOConfig, RLOOTrainer

        from align.methods.trainers.repeat_sampler import resumable
        from align.methods.trainers.rollouts import with_rollouts

        trainer = with_rollouts(resumable(RLOOTrainer), inputs.rollouts)
        return trainer(**trainer_arguments(inputs, RLOOConfig))


METHOD = Rloo()
