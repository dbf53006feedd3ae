"""What GRPO and RLOO share: they generate completions while they train, and rewards score them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import gcd
from typing import TYPE_CHECKING, Any, ClassVar

from align.methods.specification import Draft, Fate, Method, StageFields

if TYPE_CHECKING:
    from align.methods.trainers.trainer_inputs import TrainerInputs

#: Completions of a prompt in a drafted recipe.
GENERATIONS = 8
_SIZES = ("generation_batch_size", "steps_per_generation")
_BATCHES = (
    "per_device_train_batch_size", "gradient_accumulation_steps", "num_generations",
    "num_iterations",
)  # fmt: skip


def generation_batch(stage: StageFields) -> int:
    """Completions that are generated at a time (TRL's `generation_batch_size`)."""
    batch_size = stage.trl_value("generation_batch_size")
    batches = stage.trl_value("steps_per_generation") or stage.gradient_accumulation_steps
    return int(batch_size or stage.per_device_train_batch_size * int(batches))


def generation_period(stage: StageFields) -> int:
    """The period, in optimizer steps, after which new completions start with a step.

    TRL generates completions every `steps_per_generation * num_iterations` micro-batches, and a
    step takes `gradient_accumulation_steps` micro-batches (`GRPOTrainer._prepare_inputs`).
    """
    batches = generation_batch(stage) // stage.per_device_train_batch_size
    micro = batches * int(stage.trl_value("num_iterations"))
    return int(micro // gcd(micro, stage.gradient_accumulation_steps))


def trainer_arguments(inputs: TrainerInputs, config: type[Any]) -> dict[str, Any]:
    """The arguments that TRL's online trainers share; rewards get every column of the rows."""
    return {
        "model": inputs.model,
        "reward_funcs": inputs.reward_functions(),
        "args": config(**inputs.arguments(), reward_weights=inputs.reward_weights()),
        "train_dataset": inputs.columns(*inputs.all_columns()),
        "processing_class": inputs.tokenizer,
        "peft_config": inputs.lora(),
    }


class OnlineMethod(Method):
    """A method whose trainer generates groups of completions and learns from their rewards."""

    objectives = ("accuracy", "reward")
    measured = ("answers", "divergence")
    rung_metric = "sampled_reward"
    verdict = "mean_reward"
    formats = ("prompt with answer", "prompt only")
    task_format = "prompt with answer"
    sides = ()
    answerable = True
    online = True
    length_field = "max_completion_length"
    unused_fields = frozenset({"max_length"})
    learning_rates = ("1.0e-6", "1.0e-5", "1.0e-4")
    draft_parents = ("dpo", "kto", "sft")
    draft_judge = True
    #: The YAML line of `beta`.
    draft_beta: ClassVar[str]

    def complaints(self, stage: StageFields) -> Iterator[str]:
        if not stage.rewards:
            yield f"{self.name} needs rewards, e.g. {{correctness: 1.0, brevity: 0.2}}"
        if stage.searched(*_SIZES, *_BATCHES):
            return
        size, batch = stage.per_device_train_batch_size, generation_batch(stage)
        named_sizes = [name for name in _SIZES if stage.trl_value(name) is not None]
        if len(named_sizes) == 2:
            yield f"name one of {' and '.join(named_sizes)}: each follows from the other"
            return
        if batch % size:
            yield (
                f"per_device_train_batch_size {size} must divide the {batch} completions of "
                "generation_batch_size"
            )
            return
        if batch % stage.num_generations:
            made_of = named_sizes[0] if named_sizes else "gradient_accumulation_steps"
            product = (
                made_of if made_of == _SIZES[0] else f"per_device_train_batch_size * {made_of}"
            )
            yield (
                f"num_generations {stage.num_generations} must divide the {batch} completions that "
                f"are written at a time ({product})"
            )
        yield from _boundaries(stage)

    def fate(self, _prompt: int, longest: int, limit: int, _options: Mapping[str, Any]) -> Fate:
        return "cut" if longest > limit else "whole"

    def divided_rows(self, stage: StageFields) -> int:
        """The generation batch must hold whole micro-batches, too."""
        return gcd(stage.completions_per_step, generation_batch(stage))

    def resized(self, stage: StageFields, per_device: int) -> dict[str, int]:
        """The generation batch stays: `steps_per_generation` counts micro-batches."""
        if stage.trl_value("steps_per_generation") is None:
            return {}
        return {"steps_per_generation": generation_batch(stage) // per_device}

    def least_train_rows(self, stage: StageFields) -> tuple[int, str] | None:
        prompts = generation_batch(stage) // stage.num_generations
        return prompts, "prompts whose completions are written at a time"

    def sequences_of_epoch(self, rows: int, stage: StageFields) -> int:
        return rows * int(stage.num_generations) * int(stage.trl_value("num_iterations"))

    def draft_fields(self, draft: Draft) -> str:
        judge = ", reward_model: 0.1" if draft.judged else ""
        return f"""\
{self.draft_beta}
    num_generations: {GENERATIONS}  # completions compared for one prompt
    max_completion_length: {draft.answer_tokens}
    temperature: 1.0
    rewards: {{correctness: 1.0, brevity: 0.2{judge}}}  # fixed weights, never searched"""

    def draft_objective(self, _draft: Draft) -> str:
        return "reward  # of answers to held-out prompts"


def _boundaries(stage: StageFields) -> Iterator[str]:
    period = generation_period(stage)
    fields = {"sweep.rungs": stage.sweep.rungs, "save_steps": [stage.save_steps or period]}
    for name, steps in fields.items():
        if refused := [step for step in steps if step % period]:
            yield (
                f"{name}: {', '.join(map(str, refused))}: completions are used for {period} steps "
                "(steps_per_generation * num_iterations / gradient_accumulation_steps) and are not "
                f"saved, so a stage can only go on from multiples of {period}"
            )
