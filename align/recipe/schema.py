"""The fields of a stage of a recipe, as they are written. Names are those of TRL and PEFT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field

from align.methods import METHODS, Method, MethodName, Objective
from align.recipe.blocks import Block, DataConfig, SweepConfig
from align.recipe.lora import LoraConfig
from align.recipe.rewards import RewardConfigs
from align.recipe.trl_fields.installed import trl_fields
from align.space.field_types import (
    AnySpace,
    Flag,
    Float,
    SearchedFloat,
    SearchedPositive,
    Whole,
    numeric,
    one_of,
    whole,
)
from align.space.spaces import Expression, Space

#: The beginning of the paths of LoRA's fields.
LORA = "lora."
MINIMISED: frozenset[Objective] = frozenset({"nll"})

Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
    "inverse_sqrt", "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr",
    "warmup_stable_decay", "greedy",
]  # fmt: skip
if TYPE_CHECKING:
    _Scheduler = Scheduler  # as in a resolved stage: see align.space.field_types
else:
    _Scheduler = Annotated[Scheduler | AnySpace, one_of(get_args(Scheduler))]


_positive = numeric(float, "a number above 0", lambda x: x > 0)
_from_zero = numeric(float, "a number from 0 on", lambda x: x >= 0)


class StageSchema(Block):
    """An alignment stage: its method, data, adapter, objective and search.

    Fields are parsed one by one; `StageConfig` also checks what they say together.

    A stage may also hold any other supported field of its method's TRL config.
    """

    model_config = ConfigDict(extra="allow")

    method: MethodName
    parent: str | None = None
    reward_model: str | None = None
    data: DataConfig | None = None
    lora: LoraConfig = Field(default_factory=LoraConfig)

    learning_rate: SearchedPositive
    beta: SearchedFloat | None = None
    max_steps: Annotated[Whole, whole(1)] | None = None
    num_train_epochs: Annotated[Float, _positive] | None = None
    per_device_train_batch_size: Annotated[Whole, whole(1)] = 8
    gradient_accumulation_steps: Annotated[Whole, whole(1)] = 1
    gradient_checkpointing: Flag = False
    max_length: Annotated[Whole, whole(8)] = 1024
    lr_scheduler_type: _Scheduler = "linear"
    warmup_steps: Annotated[Float, _from_zero] = 0
    weight_decay: SearchedFloat = 0.0
    max_grad_norm: SearchedFloat = 1.0
    num_generations: Annotated[Whole, whole(2)] = 8
    max_completion_length: Annotated[Whole, whole(1)] = 64
    temperature: SearchedPositive = 1.0
    save_steps: int | None = Field(default=None, ge=1)

    rewards: RewardConfigs = Field(default_factory=dict)
    objective: Objective
    constraints: list[str] = Field(default_factory=list)
    sweep: SweepConfig = Field(default_factory=SweepConfig)
    budget_seconds: float | None = Field(default=None, gt=0)

    @property
    def training_method(self) -> Method:
        """What is special about the stage's method."""
        return METHODS[self.method]

    @property
    def completions_per_step(self) -> int:
        """Sequences in an optimizer step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def minimised(self) -> bool:
        """Whether a lower objective is better."""
        return self.objective in MINIMISED

    def trl_value(self, name: str) -> Any:
        """The value of a field of the method's TRL config: the stage's, else the default."""
        value = (self.model_extra or {}).get(name)
        return trl_fields(self.method)[name].default if value is None else value

    def value(self, path: str) -> Any:
        """The value of a field by dotted path (`lora.r`), else its default in TRL's config."""
        if path.startswith(LORA):
            return getattr(self.lora, path.removeprefix(LORA))
        return getattr(self, path) if path in type(self).model_fields else self.trl_value(path)

    def searched(self, *names: str) -> bool:
        """Whether any of the fields is searched or computed."""
        return any(isinstance(self.value(name), Space | Expression) for name in names)

    def fixed(self, name: str) -> Any:
        """The field's value, or TRL's default; None if it is searched or computed."""
        value = self.value(name)
        return None if isinstance(value, Space | Expression) else value

    def trl(self) -> dict[str, Any]:
        """The arguments for the method's TRL config; the stage must be resolved.

        Typed fields that are None and fields that TRL's config lacks or that the method does not
        support are left out.
        """
        unsupported = {"save_steps", *self.training_method.unsupported}
        names, extra = trl_fields(self.method).keys() - unsupported, self.model_extra or {}
        return {
            name: value
            for name, value in self
            if name in names and (value is not None or name in extra)
        }

    def fields(self) -> Iterator[tuple[str, Any]]:
        """All fields with their values by dotted path (`lora.r`), in the recipe's order."""
        for name, value in self:
            if isinstance(value, LoraConfig):
                yield from ((f"lora.{inner}", leaf) for inner, leaf in value)
            else:
                yield name, value

    def space(self) -> dict[str, Space]:
        """Searched fields by dotted path (`lora.r`, `learning_rate`), in the recipe's order."""
        return {path: value for path, value in self.fields() if isinstance(value, Space)}
