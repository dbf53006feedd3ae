"""A stage's fields by dotted path: its own and TRL's by name, those of LoRA as `lora.r`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from align.methods import MethodName
from align.recipe.lora import LoraConfig
from align.recipe.schema import LORA, StageSchema
from align.recipe.trl_fields.installed import trl_fields
from align.recipe.trl_fields.passthrough import parse_extra
from align.recipe.trl_fields.unsupported import decided
from align.suggestions import did_you_mean


def locate(stage: StageSchema, name: str, owner: str = "") -> str | None:
    """The dotted path of `name` as used by the field `owner`: in its block, else in the stage.

    None if there is no such field or a recipe cannot set it.
    """
    if owner.startswith(LORA) and name in LoraConfig.model_fields:
        return LORA + name
    if name.startswith(LORA):
        return name if name.removeprefix(LORA) in LoraConfig.model_fields else None
    if name in type(stage).model_fields:
        return name if name != "lora" else None
    return name if name in trl_fields(stage.method) and not decided(stage.method, name) else None


def put(stage: StageSchema, path: str, value: Any) -> None:
    """Set a field without validation."""
    block: BaseModel = stage.lora if path.startswith(LORA) else stage
    setattr(block, path.removeprefix(LORA), value)


def reader(stage: StageSchema, path: str) -> Callable[[Any], Any]:
    """The field's parser: returns the value as the field holds it; ValueError if not allowed."""
    if path.startswith(LORA):
        return _reader(LoraConfig, path.removeprefix(LORA))
    if path in type(stage).model_fields:
        return _reader(type(stage), path)
    return lambda value: parse_extra(stage.method, path, value)


def near(stage: StageSchema, name: str, owner: str = "") -> str:
    """The end of a message about an unknown field name: similar or allowed names."""
    block = list(LoraConfig.model_fields) if owner.startswith(LORA) else []
    allowed = "; allowed: fields of the stage, and of its lora as lora.r" + (
        f", and here {', '.join(block)}" if block else ""
    )
    known = [*block, *_names(stage.method, type(stage))]
    return did_you_mean(name, known, before="; ") or allowed


@cache
def _names(method: MethodName, stage: type[StageSchema]) -> list[str]:
    lora = [LORA + name for name in LoraConfig.model_fields]
    return [
        *stage.model_fields,
        *(field for field in trl_fields(method) if not decided(method, field)),
        *lora,
    ]


@cache
def _reader(model: type[BaseModel], name: str) -> Callable[[Any], Any]:
    field = model.model_fields[name]
    kind: Any = field.annotation
    if field.metadata:
        kind = Annotated[(kind, *field.metadata)]
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def read(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            text = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(text) from None

    return read
