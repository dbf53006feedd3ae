"""Odds-ratio preference optimisation (arXiv 2403.07691): pairs, and no reference model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from align.methods.specification import PAIR_ACCURACY, Draft, Method, judged_objective

if TYPE_CHECKING:
    from align.methods.trainers.trainer_inputs import TrainerInputs


class Orpo(Method):
    """TRL's ORPOTrainer: the likelihood of the chosen answer, and its odds over the rejected.

    `beta` is the weight of the odds ratio in the loss (the paper's lambda), not of a divergence.
    """

    name = "orpo"
    order = 4
    title = "Odds-ratio preference optimisation: imitate the chosen answers, not the rejected."
    description = "odds-ratio preference optimisation on pairs of answers"
    config_file, config_class = "experimental/orpo/orpo_config.py", "ORPOConfig"
    unsupported: ClassVar[Mapping[str, str]] = {
        "max_completion_length": "TRL's ORPO reads it for encoder-decoder models alone",
        "is_encoder_decoder": "bases are decoders",
        "generate_during_eval": "what counts is measured on the published adapter",
        "padding_value": "padding is masked, so its token does not matter",
    }
    objectives = ("accuracy", "reward", "win_rate", "pair_accuracy")
    measured = ("answers", "pairs", "divergence")
    rung_metric = "margin"
    verdict = "pair_accuracy"
    formats = ("preference",)
    task_format, task_stream = "preference", 6
    sides = ("chosen", "rejected")
    preferential = True
    left_out_because = "a pair is left out if its prompt alone is as long"
    renders_tools = False
    keeps_empty_rows = True  # and their loss is NaN
    sequences = 2
    full_logits = True
    learning_rates = ("1.0e-6", "8.0e-6", "1.0e-4")  # the paper's
    draft_parents = ("sft",)
    draft_judge = True

    def trainer(self, inputs: TrainerInputs) -> Any:
        with warnings.catch_warnings():
            # TRL warns that the module may change in its next version; TRL is pinned.
            warnings.filterwarnings("ignore", message=".*trl.experimental")
            from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        from align.methods.trainers.prepared import no_progress_bars

        with no_progress_bars():
            return ORPOTrainer(
                model=inputs.model,
                args=ORPOConfig(**inputs.arguments()),
                train_dataset=inputs.rendered_columns("prompt", "chosen", "rejected"),
                processing_class=inputs.tokenizer,
                peft_config=inputs.lora(),
            )

    def keeps_end(self, _options: Mapping[str, Any]) -> bool:
        return False

    def draft_fields(self, _draft: Draft) -> str:
        return "    beta: {loguniform: [0.01, 1.0], default: 0.1}  # weight of the odds ratio"

    def draft_objective(self, draft: Draft) -> str:
        return judged_objective(draft, PAIR_ACCURACY)


METHOD = Orpo()
