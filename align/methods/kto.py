"""Kahneman-Tversky optimisation, on single answers labelled good or bad."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from align.methods.specification import (
    ACCURACY,
    BETA,
    Draft,
    Method,
    Row,
    StageFields,
    judged_objective,
)

if TYPE_CHECKING:
    from align.methods.trainers.trainer_inputs import TrainerInputs

#: The loss that needs no KL term, so that its micro-batches may have any size.
UNPAIRED = "apo_zero_unpaired"


class Kto(Method):
    """TRL's KTOTrainer; the reference is the parent: the model with the new adapter off.

    TRL keeps the order of the rows, since it pairs each prompt with the completion of its
    neighbour in the micro-batch. Labels are mixed: rows of a file are ordered by their hashes,
    rows of the built-in task are drawn at random.
    """

    name = "kto"
    order = 3
    title = "Kahneman-Tversky optimisation: towards answers labelled good, away from bad ones."
    description = "Kahneman-Tversky optimisation on liked and disliked answers"
    config_file, config_class = "trainer/kto_config.py", "KTOConfig"
    values: ClassVar[Mapping[str, tuple[str, ...]]] = {"loss_type": ("kto", UNPAIRED)}
    objectives = ("accuracy", "reward", "win_rate", "label_auc")
    measured = ("answers", "labels", "divergence")
    rung_metric = "label_margin"
    formats = ("unpaired preference", "preference")
    drafted_from = ("unpaired preference",)
    task_format, task_stream = "unpaired preference", 4
    sides = ("completion",)
    mixes_rows = True
    preferential = True
    left_out_because = "a row is left out if its prompt alone is as long"
    # KTO estimates the divergence from answers of the same micro-batch.
    preparation_fields = (
        "dataset_num_proc", "loss_type", "max_length", "per_device_train_batch_size",
    )  # fmt: skip
    learning_rates = ("1.0e-6", "5.0e-6", "1.0e-4")  # TRL: "similar to that of DPO"
    draft_parents = ("sft",)
    draft_judge = True

    def trainer(self, inputs: TrainerInputs) -> Any:
        from trl import KTOConfig, KTOTrainer

        from align.methods.trainers.prepared import prepared

        return prepared(KTOTrainer, self.preparation_fields)(
            model=inputs.model,
            args=KTOConfig(**inputs.arguments()),
            train_dataset=inputs.columns("prompt", "completion", "label", "tools"),
            processing_class=inputs.tokenizer,
            peft_config=inputs.lora(),
        )

    def complaints(self, stage: StageFields) -> Iterator[str]:
        if stage.searched("loss_type") or stage.fixed("loss_type") == UNPAIRED:
            return
        if (stage.fixed("per_device_train_batch_size") or 2) < 2:
            yield (
                "kto needs per_device_train_batch_size from 2 on: it estimates the KL term by "
                "pairing each prompt with its neighbour's answer; or take loss_type: "
                f"{UNPAIRED}"
            )
        if (order := stage.fixed("train_sampling_strategy")) not in (None, "sequential"):
            yield (
                f"train_sampling_strategy '{order}' breaks the pairs that kto's KL term is "
                "estimated from; leave it out"
            )

    def rows(self, row: Row) -> Iterator[Row]:
        """A pair becomes two rows, with a good and a bad answer."""
        if "chosen" not in row:
            yield row
            return
        shared = {name: value for name, value in row.items() if name not in ("chosen", "rejected")}
        for side in ("chosen", "rejected"):
            yield {**shared, "completion": row[side], "label": side == "chosen"}

    def keeps_end(self, _options: Mapping[str, Any]) -> bool:
        return False

    def least_rows(self, stage: StageFields) -> int:
        """Two, since each prompt is paired with a neighbour's completion for the KL term."""
        return 1 if stage.trl_value("loss_type") == UNPAIRED else 2

    def draft_fields(self, _draft: Draft) -> str:
        return BETA

    def draft_objective(self, draft: Draft) -> str:
        labels = "label_auc  # how often a held-out good answer is raised more than a bad one"
        return judged_objective(draft, ACCURACY if draft.checkable else labels)


METHOD = Kto()
