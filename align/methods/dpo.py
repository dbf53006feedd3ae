"""Direct preference optimisation against the parent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from align.methods.specification import (
    BETA,
    PAIR_ACCURACY,
    Draft,
    Method,
    StageFields,
    judged_objective,
)

if TYPE_CHECKING:
    from align.methods.trainers.trainer_inputs import TrainerInputs


class Dpo(Method):
    """TRL's DPOTrainer; the reference is the parent: the model with the new adapter off."""

    name = "dpo"
    order = 2
    title = "Direct preference optimisation: move from the rejected towards the chosen answers."
    description = "direct preference optimisation on pairs of answers"
    config_file, config_class = "trainer/dpo_config.py", "DPOConfig"
    values: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "loss_type": (
            "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard",
            "aot", "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
        ),
        "f_divergence_type": ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"),
    }  # fmt: skip
    objectives = ("accuracy", "reward", "win_rate", "pair_accuracy")
    measured = ("answers", "implied", "divergence")
    rung_metric = "implicit_margin"
    verdict = "pair_accuracy"
    formats = drafted_from = ("preference",)
    task_format, task_stream = "preference", 2
    sides = ("chosen", "rejected")
    preferential = True
    left_out_because = "a row is left out if its prompt alone is as long"
    preparation_fields = ("dataset_num_proc", "max_length", "truncation_mode")
    precomputes_reference = True
    sequences = 2
    learning_rates = ("1.0e-6", "5.0e-6", "1.0e-4")
    draft_parents = ("sft",)
    draft_judge = True

    def trainer(self, inputs: TrainerInputs) -> Any:
        from trl import DPOConfig, DPOTrainer

        from align.methods.trainers.prepared import prepared

        return prepared(DPOTrainer, self.preparation_fields)(
            model=inputs.model,
            args=DPOConfig(**inputs.arguments()),
            train_dataset=inputs.columns("prompt", "chosen", "rejected", "tools"),
            processing_class=inputs.tokenizer,
            peft_config=inputs.lora(),
        )

    def complaints(self, stage: StageFields) -> Iterator[str]:
        if stage.fixed("padding_free"):
            yield "padding_free is switched off in this TRL's DPO; leave it out"
        loss = stage.fixed("loss_type")
        if stage.searched("loss_type"):
            return
        losses = [loss] if isinstance(loss, str) else list(loss or ())
        weights = stage.fixed("loss_weights")
        if weights is not None and losses and len(weights) != len(losses):
            yield f"loss_weights has {len(weights)} numbers for {len(losses)} of loss_type"
        if stage.fixed("use_weighting") and {"aot", "aot_unpaired"} & set(losses):
            yield (
                "use_weighting does not go with loss_type aot or aot_unpaired, which sort the pairs"
            )
        if "exo_pair" in losses and stage.fixed("label_smoothing") == 0:
            yield "loss_type 'exo_pair' needs label_smoothing above 0, e.g. 0.001"
        alone = {"nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down"}
        divergence = stage.fixed("f_divergence_type")
        if divergence not in (None, "reverse_kl") and alone & set(losses):
            yield (
                f"f_divergence_type '{divergence}' does not go with loss_type "
                f"{', '.join(sorted(alone & set(losses)))}; leave it out"
            )

    def draft_fields(self, _draft: Draft) -> str:
        return BETA

    def draft_objective(self, draft: Draft) -> str:
        return judged_objective(draft, PAIR_ACCURACY)


METHOD = Dpo()
