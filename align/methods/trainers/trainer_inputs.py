"""What a trainer is built from, and the arguments that all trainers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peft import LoraConfig
from transformers import PreTrainedTokenizerBase

from align.chat_tools import without_tools
from align.methods.specification import RewardFunction, StageFields
from align.methods.trainers.rollouts import Rollouts
from align.precision import precision

#: TRL's default optimizer. It skips a step that overflowed fp16 within its own kernel, so that
#: accelerate does not notice, and the learning rate's schedule would go on.
_FUSED = "adamw_torch_fused"

#: Columns of messages.
_MESSAGES = {"prompt", "completion", "chosen", "rejected"}


@dataclass
class TrainerInputs:
    """The inputs of a training run: a model that holds its parent, resolved settings, rows.

    `rewards` holds (name, weight, function) for online methods, `rollouts` writes their
    completions.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    stage: StageFields
    steps: int
    rows: Sequence[dict[str, Any]]
    output: Path
    seed: int
    rewards: list[tuple[str, float, RewardFunction]] = field(default_factory=list)
    rollouts: Rollouts | None = None

    def arguments(self) -> dict[str, Any]:
        """Arguments of the method's TRL config: the recipe's fields, then Alignery's own."""
        options, policy = self.stage.trl(), precision().args
        if policy["fp16"] and options.get("optim", _FUSED) == _FUSED:
            options["optim"] = "adamw_torch"
        return {
            **options,
            "output_dir": str(self.output),
            "max_steps": self.steps,
            "gradient_checkpointing_kwargs": {
                **(options.get("gradient_checkpointing_kwargs") or {}),
                "use_reentrant": False,
            },
            "seed": self.seed,
            "data_seed": self.seed,
            "logging_steps": 1,
            # Otherwise a NaN loss is logged as the mean of the losses before it.
            "logging_nan_inf_filter": False,
            "save_strategy": "no",
            "report_to": "none",
            "log_level": "warning",
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            **policy,
        }

    def lora(self, task_type: str = "CAUSAL_LM", save: list[str] | None = None) -> LoraConfig:
        """PEFT's config of the new adapter."""
        lora = self.stage.lora
        return LoraConfig(
            r=lora.r,
            lora_alpha=lora.lora_alpha,
            lora_dropout=lora.lora_dropout,
            target_modules=lora.target_modules,
            use_rslora=lora.use_rslora,
            bias="none",
            task_type=task_type,
            modules_to_save=save,
        )

    def columns(self, *names: str) -> Any:
        """The rows as a dataset with these columns alone (those that any row has).

        Rows without a value in such a column have None. The column `tools` holds what prompts
        carry; it exists if any does.
        """
        from datasets import Dataset, Json, List

        # A dataset has the columns of its first row.
        present = [name for name in names if any(name in row for row in self.rows)]
        rows: list[dict[str, Any]] = [
            {name: row.get(name) for name in present} for row in self.rows
        ]
        if "tools" in names and any(without_tools(row["prompt"])[1] for row in rows):
            for row in rows:
                row["prompt"], row["tools"] = without_tools(row["prompt"])
        if not any(map(_calls_tools, rows)):
            return Dataset.from_list(rows)
        # Each call has arguments of its own, where a struct would give all calls all arguments.
        dataset = Dataset.from_list(rows, on_mixed_types="use_json")
        for name in _MESSAGES & rows[0].keys():  # alike, for TRL joins prompts and answers
            dataset = dataset.cast_column(name, List(Json()))
        return dataset

    def rendered_columns(self, *names: str) -> Any:
        """As `columns`; if any message calls a tool, all are text by the chat template.

        For trainers that write the text into the columns of the messages: TRL's ORPO, which then
        fails on columns of JSON.
        """
        from datasets import Dataset
        from trl import apply_chat_template

        if not any(map(_calls_tools, self.rows)):
            return self.columns(*names)
        rows = [{name: row[name] for name in names if name in row} for row in self.rows]
        return Dataset.from_list([apply_chat_template(row, self.tokenizer) for row in rows])

    def all_columns(self) -> list[str]:
        """The names of all columns that any row has."""
        return sorted({name for row in self.rows for name in row})

    def reward_functions(self) -> list[RewardFunction]:
        """The functions of `rewards`, in order."""
        return [function for _, _, function in self.rewards]

    def reward_weights(self) -> list[float]:
        """The weights of `rewards`, in order."""
        return [weight for _, weight, _ in self.rewards]


def _calls_tools(row: Mapping[str, Any]) -> bool:
    """Whether a message of the row calls a tool."""
    turns = (turn for value in row.values() if isinstance(value, list) for turn in value)
    return any(isinstance(turn, dict) and turn.get("tool_calls") for turn in turns)
