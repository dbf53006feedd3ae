"""The memory-relevant load of a stage: its adapter, its parents, and a micro-batch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from align.memory.shape import ModelShape
from align.methods import METHODS, Method, MethodName
from align.recipe import StageConfig
from align.recipe.trl_fields.installed import trl_fields

#: Default number of tokens of an online method's prompt: recipes only limit the completion.
PROMPT_TOKENS = 256


@dataclass(frozen=True)
class LoraSize:
    """The size of an adapter; `targets` are the names of linears in a layer."""

    rank: int
    targets: frozenset[str]

    def parameters(self, shape: ModelShape) -> int:
        """Number of its weights in the whole model."""
        return shape.lora_parameters(self.rank, self.targets)


@dataclass(frozen=True)
class Workload:
    """The memory-relevant settings of a trial.

    A micro-batch has `rows`, an optimizer step has `steps` micro-batches. A sequence has at most
    `length` tokens, of which the loss scores `scored`; `padded` if sequences differ in length, so
    that attention needs a mask. The rows of a micro-batch must divide `whole`, and `least` is the
    smallest number that the method allows. `beneath` are the adapters of earlier stages, `judge`
    the adapters of the reward model. `generated` are the tokens of the longest sequence that the
    engine beside the trial is sized for, prompt and completion. `held` is the number of the base's
    weights that stay in fp32 where the base is in fp16.
    """

    method: MethodName
    rows: int
    steps: int
    length: int
    scored: int
    lora: LoraSize
    dropout: bool
    checkpointing: bool
    padded: bool
    whole: int
    least: int = 1
    beneath: tuple[LoraSize, ...] = ()
    judge: tuple[LoraSize, ...] = ()
    generated: int = 0
    held: int = 0

    @property
    def training_method(self) -> Method:
        """What is special about the method."""
        return METHODS[self.method]

    @property
    def sequences(self) -> int:
        """Number of sequences in a micro-batch."""
        return self.rows * self.training_method.sequences

    @property
    def tokens(self) -> int:
        """Number of tokens of a micro-batch, including padding."""
        return self.sequences * self.length

    @property
    def batch(self) -> int:
        """Number of rows of an optimizer step."""
        return self.rows * self.steps

    @property
    def sizes(self) -> list[int]:
        """Possible rows of a micro-batch with the same effective batch, ascending."""
        return [rows for rows in range(self.least, self.whole + 1) if self.whole % rows == 0]

    def in_batches_of(self, rows: int, checkpointing: bool) -> Workload:
        """The same optimizer step with other micro-batches; `rows` is one of `sizes`."""
        return replace(
            self,
            rows=rows,
            steps=self.batch // rows,
            padded=rows * self.training_method.sequences > 1,
            checkpointing=checkpointing,
        )


def workload(
    stage: StageConfig,
    shape: ModelShape,
    beneath: tuple[LoraSize, ...] = (),
    judge: tuple[LoraSize, ...] = (),
    prompt_tokens: int = PROMPT_TOKENS,
    generated: int = 0,
    fp32_modules: Collection[str] = (),
) -> Workload:
    """The workload of a resolved stage, for sequences of the maximum length, all of it scored.

    `generated` is at least the stage's own length; `fp32_modules` are those of the recipe.
    """
    method, rows = stage.training_method, stage.per_device_train_batch_size
    length, scored = stage.max_length, 0 if method.trains_reward_model else stage.max_length
    if method.online:
        length = prompt_tokens + stage.max_completion_length
        scored = stage.max_completion_length
    return Workload(
        method=stage.method,
        rows=rows,
        steps=stage.gradient_accumulation_steps,
        length=length,
        scored=scored,
        lora=lora_of(stage, shape),
        dropout=has_dropout(stage),
        checkpointing=stage.gradient_checkpointing,
        padded=rows * method.sequences > 1,
        whole=method.divided_rows(stage),
        least=method.least_rows(stage),
        beneath=beneath,
        judge=judge,
        generated=max(length, generated),
        held=shape.held_parameters(fp32_modules),
    )


def lora_of(stage: StageConfig, shape: ModelShape) -> LoraSize:
    """The size of a resolved stage's adapter."""
    rank = stage.lora.r
    assert isinstance(rank, int)  # resolved
    return LoraSize(rank, shape.targets(stage.lora.target_modules))


def has_dropout(stage: StageConfig) -> bool:
    """Whether LoRA's dropout is on: some of TRL's trainers disable it by default."""
    off = "disable_dropout" in trl_fields(stage.method) and stage.trl_value("disable_dropout")
    rate = stage.lora.lora_dropout
    return not off and isinstance(rate, float) and rate > 0
