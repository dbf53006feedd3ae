"""PEFT's LoRA fields: those that a recipe can set, and why others are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import WrapValidator, model_validator

from align.inference.options import EngineOptions
from align.recipe.blocks import Block
from align.space.field_types import (
    Flag,
    Names,
    SearchedFraction,
    SearchedInt,
    SearchedPositive,
    searched,
)
from align.space.spaces import listed

#: The adapter bank's maximum rank: adapters of a higher rank cannot be served.
MAX_RANK = EngineOptions.max_rank

_NO_SUM = "its effect is not a sum of deltas, so no later stage could be stacked on it"
_OTHER_BASE = "the adapter would go with other base weights than those that are shared and served"
_LAYERS = "the bank holds LoRA of linear layers alone"
_TRAINED = (
    "layers that are trained as a whole are no difference to the base; a reward stage's head is "
    "saved by itself"
)
_BIAS = "trained biases belong to one adapter and stay in the base when it is off"

#: PEFT's options that a chain of adapters in a bank does not support, with the reason.
NOT_COMPOSED: dict[str, str] = {
    **dict.fromkeys(
        ("use_dora", "lora_bias", "alora_invocation_tokens", "use_qalora", "use_bdlora",
         "arrow_config", "monteclora_config", "velora_config"),
        _NO_SUM,
    ),
    **dict.fromkeys(
        ("init_lora_weights", "loftq_config", "corda_config", "lora_ga_config", "kasa_config",
         "layer_replication"),
        _OTHER_BASE,
    ),
    **dict.fromkeys(("target_parameters", "trainable_token_indices"), _LAYERS),
    **dict.fromkeys(("modules_to_save", "ensure_weight_tying"), _TRAINED),
    "bias": _BIAS,
}  # fmt: skip
#: Modules that PEFT could adapt, but whose LoRA TRL's losses or the bank would ignore.
_ENDS = ("lm_head", "embed_out", "embed_tokens", "wte", "word_embeddings", "score")


def _targets(value: Any) -> str | list[str]:
    """Names as a list, `all-linear`, or a regular expression. ValueError if they do not compose.

    PEFT matches a single name against a module's whole path, so it becomes a list with that name.
    """
    if isinstance(value, str) and value != "all-linear":
        value = listed(value) or value
    if not isinstance(value, str | list | tuple) or not all(
        isinstance(name, str) for name in value
    ):
        raise ValueError(f"expected {_TARGETS}; got {value!r}")
    if not value:
        raise ValueError(f"no module to adapt; allowed: {_TARGETS}")
    refused = [end for end in _ENDS if value != "all-linear" and _reaches(value, end)]
    if refused:
        raise ValueError(
            f"'{refused[0]}' does not compose: the bank adapts the linear layers between "
            "embeddings and head, and TRL's losses read the head's plain weights; leave it out"
        )
    return value if isinstance(value, str) else list(value)


_TARGETS = "all-linear, names, or a regular expression"
_Targets = Annotated[
    Names, WrapValidator(lambda value, _union: searched(value, _targets, _TARGETS, None))
]


class LoraConfig(Block):
    """PEFT's LoRA fields. `lora_alpha` may be computed from the rank: `2 * r`."""

    r: SearchedInt = 8
    lora_alpha: SearchedPositive = 16
    lora_dropout: SearchedFraction = 0.0
    target_modules: _Targets = "all-linear"
    use_rslora: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _composes(cls, raw: Any) -> Any:
        """Remove unsupported options that only repeat PEFT's default; ValueError for others."""
        if not isinstance(raw, Mapping):
            return raw
        for name in NOT_COMPOSED.keys() & raw.keys():
            if not _plain(name, raw[name]):
                raise ValueError(_refusal(name, raw[name]))
        return {name: value for name, value in raw.items() if name not in NOT_COMPOSED}


def _reaches(targets: str | list[str] | tuple[str, ...], module: str) -> bool:
    if not isinstance(targets, str):
        if "all-linear" in targets:
            raise ValueError("write target_modules: all-linear, not as part of a list")
        return any(name.rpartition(".")[2] == module for name in targets)
    try:
        pattern = re.compile(targets)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}; got {targets!r}") from None
    return any(pattern.fullmatch(name) for name in (module, f"model.{module}"))


def _plain(name: str, value: Any) -> bool:
    """Whether the value is PEFT's default."""
    if name == "init_lora_weights":
        return value is True
    return value == "none" if name == "bias" else not value


def _refusal(name: str, value: Any) -> str:
    if name == "init_lora_weights" and value in (False, "gaussian", "orthogonal", "eva"):
        return f"{name}={value!r} is not offered: a new adapter starts as PEFT starts it"
    return f"{name}={value!r} does not compose: {NOT_COMPOSED[name]}"
