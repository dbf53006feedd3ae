"""The sampling parameters, each declared once with its default and bounds. Imports no torch.

The engine's checks (`align.inference.request_limits`) and the fields of HTTP bodies
(`serve.http.sampling_fields`) are derived from these declarations.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

MAX_COMPLETIONS = 128
MAX_LOGPROBS = 20


@dataclass(frozen=True)
class Bounds:
    """The values that a number may have.

    `limits` are by comparison: `ge`, `gt`, `le` or `lt`, named as in pydantic's `Field`. NaN is
    never within them. `allowed` describes the values in error messages.
    """

    limits: Mapping[str, float]
    allowed: str
    integer: bool = False

    def __contains__(self, value: Any) -> bool:
        """Whether the value is within all limits; with `integer`, only an int is."""
        if self.integer and not isinstance(value, int):
            return False
        return all(getattr(operator, name)(value, limit) for name, limit in self.limits.items())


def _bounded(default: float | None, bounds: Bounds) -> Any:
    return field(default=default, metadata={"bounds": bounds})


def _range(least: int, most: int) -> Bounds:
    return Bounds({"ge": least, "le": most}, f"from {least} to {most}")


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How a prompt is continued.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1 and `min_p` 0 keep the whole vocabulary; `min_p`
    keeps the tokens with at least that share of the likeliest token's probability. Presence and
    frequency penalty and `logit_bias` (token id → added to its logit) are those of OpenAI: they
    count generated tokens only. `repetition_penalty` is that of Keskar et al. (arXiv 1909.05858):
    the logits of all tokens of prompt and completion are divided by it where they are positive and
    multiplied by it where they are negative; 1 changes nothing. `n` is the number of completions;
    completion i samples with `seed + i`. A `seed` makes sampling repeatable in any batch. `stop`
    ends the text before any of these strings, `stop_ids` after any of these tokens (omitted, like
    the end of turn). Neither these nor the end of turn can occur before `min_new_tokens`;
    `ignore_eos` treats the end of turn as an ordinary token. `logprobs` requests the
    log-probability of each token and of that many likeliest tokens (0: of the token only), under
    the model's distribution before temperature, penalties and bias.
    """

    temperature: float = _bounded(
        0.0, Bounds({"ge": 0, "lt": math.inf}, "0 (greedy) or a positive number")
    )
    top_p: float = _bounded(1.0, Bounds({"gt": 0, "le": 1}, "above 0 and at most 1"))
    min_p: float = _bounded(0.0, Bounds({"ge": 0, "le": 1}, "from 0 to 1"))
    repetition_penalty: float = _bounded(
        1.0, Bounds({"ge": 0.001, "le": 1000}, "from 0.001 to 1000")
    )
    frequency_penalty: float = _bounded(0.0, _range(-2, 2))
    presence_penalty: float = _bounded(0.0, _range(-2, 2))
    logit_bias: dict[int, float] = field(default_factory=dict)
    n: int = _bounded(1, _range(1, MAX_COMPLETIONS))
    stop: tuple[str, ...] = ()
    seed: int | None = _bounded(
        None,
        Bounds(
            {"ge": -(2**63), "lt": 2**63},
            "an integer from -2^63 to 2^63 - 1, or left out",
            integer=True,
        ),
    )
    top_k: int = _bounded(0, Bounds({"ge": 0}, "0 (all tokens) or more"))
    min_new_tokens: int = 0
    stop_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = _bounded(None, _range(0, MAX_LOGPROBS))

    def sampling(self) -> dict[str, Any]:
        """The sampling parameters alone, by name: arguments for another object that has them."""
        return {parameter.name: getattr(self, parameter.name) for parameter in PARAMETERS}


#: All sampling parameters, in the order of their declaration. The metadata of most numbers have
#: their `bounds`; the default, which may be None, is valid besides.
PARAMETERS = fields(SamplingParams)
