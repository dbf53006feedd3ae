"""Supervised fine-tuning on completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from align.methods.specification import ACCURACY, Draft, Fate, Method, StageFields

if TYPE_CHECKING:
    from align.methods.trainers.trainer_inputs import TrainerInputs


class Sft(Method):
    """TRL's SFTTrainer; the loss is on the completion only, unless the recipe says otherwise."""

    name = "sft"
    order = 0
    title = "Supervised fine-tuning: imitate the answers."
    description = "supervised fine-tuning on completions"
    config_file, config_class = "trainer/sft_config.py", "SFTConfig"
    objectives = ("accuracy", "reward", "nll")
    measured = ("answers", "completions", "divergence")
    rung_metric = "nll"
    formats = drafted_from = ("prompt-completion", "conversations")
    task_format, task_stream = "prompt-completion", 0
    sides = ("completion",)
    answerable = True
    imitates = True
    left_out_because = "nothing of the answer is left of a row whose prompt alone is as long"
    preparation_fields = (
        "assistant_only_loss", "completion_only_loss", "dataset_num_proc", "dataset_text_field",
        "max_length", "packing_strategy", "seed", "shuffle_dataset", "truncation_mode",
    )  # fmt: skip
    learning_rates = ("2.0e-5", "2.0e-4", "2.0e-3")

    def trainer(self, inputs: TrainerInputs) -> Any:
        from trl import SFTConfig, SFTTrainer

        from align.methods.trainers.prepared import prepared

        return prepared(SFTTrainer, self.preparation_fields)(
            model=inputs.model,
            args=SFTConfig(**{"completion_only_loss": True, **inputs.arguments()}),
            train_dataset=inputs.columns("prompt", "completion", "tools"),
            processing_class=inputs.tokenizer,
            peft_config=inputs.lora(),
        )

    def complaints(self, stage: StageFields) -> Iterator[str]:
        packing = stage.fixed("packing")
        if packing and stage.num_train_epochs is not None:
            yield (
                "packing: how many rows share a sequence is not known before they are tokenised, "
                "so epochs cannot be counted in steps; use max_steps instead of num_train_epochs"
            )
        if stage.fixed("padding_free") and packing is False:
            yield "padding_free needs packing: true; without it TRL would not hold max_length"
        if "packing_strategy" in (stage.model_extra or {}) and packing is False:
            yield "packing_strategy needs packing: true"
        if packing and stage.fixed("packing_strategy") == "wrapped":
            yield (
                "packing_strategy 'wrapped' lets rows see each other and cuts them anywhere; "
                "take bfd or bfd_split"
            )

    def fate(self, prompt: int, longest: int, limit: int, options: Mapping[str, Any]) -> Fate:
        if options["packing"] and options["packing_strategy"] != "bfd":
            return "whole"  # the rest continues in another row
        return super().fate(prompt, longest, limit, options)

    def keeps_end(self, options: Mapping[str, Any]) -> bool:
        # A loss on the prompt too leaves something to learn of every row.
        everything = options["completion_only_loss"] is False
        return everything or (not options["packing"] and super().keeps_end(options))

    def draft_objective(self, draft: Draft) -> str:
        return ACCURACY if draft.checkable else "nll  # of held-out answers; lower is better"


METHOD = Sft()
