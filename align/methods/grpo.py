"""Group-relative policy optimisation on rewards."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from align.methods.online import OnlineMethod, trainer_arguments

if TYPE_CHECKING:
    from align.methods.trainers.trainer_inputs import TrainerInputs


class Grpo(OnlineMethod):
    """TRL's GRPOTrainer with the recipe's rewards and their fixed weights."""

    name = "grpo"
    order = 5
    title = "Group relative policy optimisation: try, check the answers, reinforce what scored."
    description = "group-relative policy optimisation on rewards"
    config_file, config_class = "trainer/grpo_config.py", "GRPOConfig"
    values: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
        "scale_rewards": ("group", "batch", "none"),
        "importance_sampling_level": ("token", "sequence"),
        "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    }
    drafted_from = ("prompt with answer",)
    task_stream = 3
    draft_beta = (
        "    beta: {choice: [0.0, 0.001, 0.01]}  # weight of the KL term; TRL leaves it out"
    )

    def trainer(self, inputs: TrainerInputs) -> Any:
        """Completions come from `inputs.rollouts`, or from TRL's own `generate` if it is None."""
        from trl import GRPOConfig, GRPOTrainer

        from align.methods.trainers.repeat_sampler import resumable

        with warnings.catch_warnings():
            # TRL warns that `rollout_func` may change in its next version; TRL is pinned.
            warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
            return resumable(GRPOTrainer)(
                **trainer_arguments(inputs, GRPOConfig), rollout_func=inputs.rollouts
            )


METHOD = Grpo()
