"""What one stage puts on a card: its adapter, what lies beneath it, and a micro-batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from align.memory.oom_backoff import divided_rows, least_rows
from align.memory.shape import ModelShape
from align.recipe import StageConfig
from align.recipe.trl_fields.installed import Method, trl_fields

#: Sequences of a micro-batch for each row of it: chosen and rejected go through the model together.
SEQUENCES: dict[Method, int] = {"sft": 1, "reward": 2, "dpo": 2, "kto": 1, "grpo": 1}
#: Tokens of a GRPO prompt where nothing else is known: recipes bound the completion alone.
PROMPT_TOKENS = 256


@dataclass(frozen=True)
class LoraSize:
    """An adapter by its size: `targets` are names of a layer's linears."""

    rank: int
    targets: frozenset[str]

    def parameters(self, shape: ModelShape) -> int:
        """Its weights in the whole model."""
        return shape.lora_parameters(self.rank, self.targets)


@dataclass(frozen=True)
class Workload:
    """One trial's memory-relevant choices.

    `rows` a micro-batch, `steps` micro-batches an optimizer step. A sequence has `length` tokens
    at most, of which the loss scores `scored`; `padded`: they differ in length, so that attention
    needs a mask. `whole` rows is what micro-batches must divide, `least` the smallest that the
    method can do with. `beneath` are the adapters of earlier stages, `judge` those of the reward
    model.
    """

    method: Method
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

    @property
    def sequences(self) -> int:
        """That go through the model together."""
        return self.rows * SEQUENCES[self.method]

    @property
    def tokens(self) -> int:
        """Of a micro-batch, padding included."""
        return self.sequences * self.length

    @property
    def batch(self) -> int:
        """Rows of an optimizer step."""
        return self.rows * self.steps

    @property
    def sizes(self) -> list[int]:
        """Micro-batches that keep the effective batch, in rows, ascending."""
        return [rows for rows in range(self.least, self.whole + 1) if self.whole % rows == 0]

    def in_batches_of(self, rows: int, checkpointing: bool) -> Workload:
        """The same optimizer step in other micro-batches, of one of `sizes`."""
        return replace(
            self,
            rows=rows,
            steps=self.batch // rows,
            padded=rows * SEQUENCES[self.method] > 1,
            checkpointing=checkpointing,
        )


def workload(
    stage: StageConfig,
    shape: ModelShape,
    beneath: tuple[LoraSize, ...] = (),
    judge: tuple[LoraSize, ...] = (),
    prompt_tokens: int = PROMPT_TOKENS,
) -> Workload:
    """A resolved stage's, with every sequence as long as the stage allows and all of it scored."""
    method, rows = stage.method, stage.per_device_train_batch_size
    length, scored = stage.max_length, 0 if method == "reward" else stage.max_length
    if method == "grpo":
        length = prompt_tokens + stage.max_completion_length
        scored = stage.max_completion_length
    return Workload(
        method=method,
        rows=rows,
        steps=stage.gradient_accumulation_steps,
        length=length,
        scored=scored,
        lora=lora_of(stage, shape),
        dropout=_dropout(stage),
        checkpointing=stage.gradient_checkpointing,
        padded=rows * SEQUENCES[method] > 1,
        whole=divided_rows(stage),
        least=least_rows(stage),
        beneath=beneath,
        judge=judge,
    )


def lora_of(stage: StageConfig, shape: ModelShape) -> LoraSize:
    """A resolved stage's adapter."""
    rank = stage.lora.r
    assert isinstance(rank, int)  # resolved
    return LoraSize(rank, shape.targets(stage.lora.target_modules))


def _dropout(stage: StageConfig) -> bool:
    """Whether LoRA's dropout is on: some of TRL's trainers switch it off unless told otherwise."""
    off = "disable_dropout" in trl_fields(stage.method) and stage.trl_value("disable_dropout")
    rate = stage.lora.lora_dropout
    return not off and isinstance(rate, float) and rate > 0
