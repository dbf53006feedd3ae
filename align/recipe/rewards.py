"""The rewards of a recipe from plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationError

from align.rewards.base import RewardConfig
from align.rewards.builtin import BUILTIN
from align.rewards.builtin.reward_model import RewardModel
from align.rewards.functions import PythonConfig
from align.suggestions import did_you_mean

NAME = r"[A-Za-z][A-Za-z0-9_-]*"


def configure(raw: Any) -> dict[str, RewardConfig]:
    """Rewards from plain data: name → a number (the weight), or a mapping with the weight.

    ValueError names an unknown reward with the allowed and similar names, a wrong option, or a
    factor (`times`) that is no other reward of the same mapping.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(
            f"rewards are names with weights, e.g. {{correctness: 1.0, brevity: 0.2}}; got {raw!r}"
        )
    rewards = {str(name): _one(str(name), value) for name, value in raw.items()}
    factors = [name for name, config in rewards.items() if _multiplies(config)]
    for name, config in rewards.items():
        others = [factor for factor in factors if factor != name]
        if config.times is not None and config.times not in others:
            hint = did_you_mean(config.times, others, after=" ")
            raise ValueError(
                f"{name}.times: another reward of this stage that has no 'times' itself and is no "
                f"reward_model; {hint}allowed: {', '.join(others) or 'none'}; got {config.times!r}"
            )
    return rewards


def _multiplies(config: RewardConfig) -> bool:
    """Whether other rewards may be multiplied by this: a judge would score each answer twice."""
    return config.times is None and not isinstance(config, RewardModel)


RewardConfigs = Annotated[dict[str, SerializeAsAny[RewardConfig]], BeforeValidator(configure)]


def located(rewards: Mapping[str, RewardConfig], folder: Path) -> dict[str, RewardConfig]:
    """The same rewards, with `folder` set for functions without a folder."""
    return {
        name: config.model_copy(update={"folder": str(folder.resolve())})
        if isinstance(config, PythonConfig) and config.folder is None
        else config
        for name, config in rewards.items()
    }


def _one(name: str, value: Any) -> RewardConfig:
    kind = _kind(name, value)
    if isinstance(value, RewardConfig):
        if type(value) is kind:
            return value
        value = value.model_dump()
    raw = dict(value) if isinstance(value, Mapping) else {"weight": value}
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        messages = [_told(name, kind, detail, value) for detail in error.errors()]
        raise ValueError("; ".join(messages)) from None


def _kind(name: str, value: Any) -> type[RewardConfig]:
    """The config class of a reward; functions cannot have the names of built-in rewards."""
    if name in BUILTIN:
        return BUILTIN[name]
    is_function = isinstance(value, PythonConfig) or (
        isinstance(value, Mapping) and "python" in value
    )
    if not is_function:
        hint = did_you_mean(name, BUILTIN, after=" ")
        raise ValueError(
            f"unknown reward '{name}'; {hint}allowed: {', '.join(BUILTIN)}, "
            "or a function of your own as {weight: 1.0, python: 'module:function'}"
        )
    if not re.fullmatch(NAME, name):
        raise ValueError(f"a reward's name is letters, digits, - and _; got {name!r}")
    return PythonConfig


def _told(name: str, kind: type[RewardConfig], error: Any, value: Any) -> str:
    option = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        needed = [key for key, field in kind.model_fields.items() if field.is_required()]
        example = ", ".join(f"{key}: …" for key in needed)
        return f"{name} needs '{option}': write {name}: {{{example}}}; got {value!r}"
    if error["type"] == "extra_forbidden":
        hint = did_you_mean(option, kind.model_fields, after=" ")
        tip = ". Give your own function another name" if option == "python" else ""
        return (
            f"{name} has no option '{option}'; {hint}allowed: {', '.join(kind.model_fields)}{tip}"
        )
    if option == "python":
        return f"{name}.python: 'module:function' is wanted; got {error['input']!r}"
    message = error["msg"].removeprefix("Value error, ")
    suffix = "" if error["type"] == "value_error" else f"; got {error['input']!r}"
    return f"{name}.{option}: {message}{suffix}"
