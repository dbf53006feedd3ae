"""The sampling parameters as fields of request bodies, derived from `SamplingParams`.

A parameter has the same name, bounds and default in a body as in the engine, unless `_DIFFERENCES`
declares otherwise: a new number or flag needs no change here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    FiniteFloat,
)

from align.inference.sampling_params import PARAMETERS, SamplingParams
from serve.http.model_fields import Model, with_fields

#: Tokens of a completion: far more than any context.
MAXIMUM_TOKENS = 1_000_000
MAXIMUM_BIASES = 1024
_TOKEN = re.compile(r"[0-9]{1,9}")
#: The parameters of OpenAI's API. Clients of other servers of open models send the others.
_OPENAI = (
    "temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "n", "stop",
    "seed",
)  # fmt: skip
#: Not derived: log-probabilities have different fields in chats and in completions.
_LEFT_OUT = {"logprobs"}


def as_list(value: Any) -> Any:
    """A string as a list. The field's validation checks other values."""
    return [value] if isinstance(value, str) else value


def _by_token(value: Any) -> Any:
    """Token ids as integers, since JSON keys are strings. The field's validation checks others."""
    if not isinstance(value, dict):
        return value
    return {int(key) if _TOKEN.fullmatch(str(key)) else key: bias for key, bias in value.items()}


_TokenId = Annotated[int, Field(ge=0, lt=2**31)]
_Bias = Annotated[FiniteFloat, Field(ge=-100, le=100)]
_StopText = Annotated[str, Field(min_length=1, max_length=1000)]


@dataclass(frozen=True)
class _Difference:
    """The type of a parameter's values in a body; its name and default where these differ, too."""

    type: Any
    name: str | None = None
    default: Any = None


#: OpenAI's API limits these parameters more than the engine does, or has other names or defaults.
_DIFFERENCES = {
    "temperature": _Difference(Annotated[FiniteFloat, Field(ge=0, le=2)], default=1.0),
    "top_p": _Difference(Annotated[FiniteFloat, Field(ge=0, le=1)]),  # 0 is greedy
    "logit_bias": _Difference(
        Annotated[
            dict[_TokenId, _Bias], Field(max_length=MAXIMUM_BIASES), BeforeValidator(_by_token)
        ]
    ),
    "stop": _Difference(
        Annotated[
            list[_StopText], Field(max_length=4), BeforeValidator(as_list), AfterValidator(tuple)
        ]
    ),
    "top_k": _Difference(  # -1 is vLLM's 0
        Annotated[int, Field(ge=-1, le=1_000_000), AfterValidator(lambda count: max(count, 0))]
    ),
    "min_new_tokens": _Difference(
        Annotated[int, Field(ge=0, le=MAXIMUM_TOKENS)], name="min_tokens"
    ),
    "stop_ids": _Difference(
        Annotated[list[_TokenId], Field(max_length=64), AfterValidator(tuple)],
        name="stop_token_ids",
    ),
}


@dataclass(frozen=True)
class _BodyField:
    """A field of bodies: the engine's parameter, the field's name and type, what null stands for.

    `default` None leaves the parameter out, so that it has the engine's default.
    """

    parameter: str
    name: str
    type: Any
    default: Any


def _body_fields() -> Iterator[_BodyField]:
    hints = get_type_hints(SamplingParams)
    for parameter in PARAMETERS:
        if parameter.name in _LEFT_OUT:
            continue
        difference = _DIFFERENCES.get(parameter.name) or _same(parameter, hints[parameter.name])
        name = difference.name or parameter.name
        yield _BodyField(parameter.name, name, difference.type | None, difference.default)


def _same(parameter: dataclasses.Field[Any], hint: Any) -> _Difference:
    """The parameter as the engine declares it; numbers in JSON are never infinite."""
    bounds = parameter.metadata.get("bounds")
    if bounds is None:
        return _Difference(hint)
    constraints: dict[str, Any] = dict(bounds.limits)
    if hint is float:
        constraints["allow_inf_nan"] = False
    return _Difference(Annotated[hint, Field(**constraints)])


_BODY_FIELDS = tuple(_body_fields())


def with_sampling_fields(*, openai: bool) -> Callable[[type[Model]], type[Model]]:
    """Decorates a model of bodies: sampling parameters become fields after its own fields.

    With `openai` those of OpenAI's API, without it all others.
    """
    fields: dict[str, Any] = {
        field.name: (field.type, None)
        for field in _BODY_FIELDS
        if (field.parameter in _OPENAI) == openai
    }
    return with_fields(fields)


def sampling_of(body: BaseModel) -> dict[str, Any]:
    """Arguments of `SamplingParams` from a body with the fields; null stands for the default."""
    values = {}
    for field in _BODY_FIELDS:
        value = getattr(body, field.name)
        if value is None:
            value = field.default
        if value is not None:
            values[field.parameter] = value
    return values
