"""Rewards in a recipe: their weights and options, and the built-in rewards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
)

from align.suggestions import did_you_mean


class RewardConfig(BaseModel):
    """A reward's weight in the sum; a negative weight makes a penalty. Subclasses add options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(allow_inf_nan=False)


class CorrectnessConfig(RewardConfig):
    """1 if the answer is right, else 0.

    `numbers` compares the last number in the text with the last of the column `answer`; `math`
    parses both as mathematics with math-verify (the extra `math`), so that 1/2 equals 0.5; `auto`
    uses `math` for answers that are expressions, such as x^2+1, if math-verify is installed.
    """

    verify: Literal["auto", "numbers", "math"] = "auto"


class FormatConfig(RewardConfig):
    """1 if the regular expression is found in the text (`re.search`), else 0.

    A dot also matches a newline; ^ and $ are the ends of the whole text, so both together require a
    full match.
    """

    pattern: str

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise ValueError(
                f"no regular expression: {error.msg} at position {error.pos} of {pattern!r}"
            ) from None
        return pattern


class LengthConfig(RewardConfig):
    """1 up to `target` characters, then falling linearly to 0 at `2 * target`."""

    target: int = Field(default=200, ge=1)


class RepetitionConfig(RewardConfig):
    """1 minus the share of the text's word n-grams that repeat an earlier n-gram."""

    ngram: int = Field(default=3, ge=1)


class ReasoningAccuracyConfig(RewardConfig):
    """TRL's `reasoning_accuracy_reward`, which judges the text after the last delimiter."""

    reasoning_delimiters: list[str] = Field(default=["</think>"], min_length=1)


class CosineScaledConfig(RewardConfig):
    """TRL's `get_cosine_scaled_reward`; `max_len` in tokens."""

    max_len: int = Field(ge=1)
    min_value_wrong: float = -1.0
    max_value_wrong: float = -0.5
    min_value_correct: float = 0.5
    max_value_correct: float = 1.0


class RepetitionPenaltyConfig(RewardConfig):
    """TRL's `get_repetition_penalty_reward`, over tokens."""

    ngram_size: int = Field(default=3, ge=1)
    max_penalty: float = Field(default=-1.0, le=0)


class SoftOverlongConfig(RewardConfig):
    """TRL's `get_soft_overlong_punishment`, in tokens."""

    max_completion_len: int = Field(ge=1)
    soft_punish_cache: int = Field(ge=0)


class PythonConfig(RewardConfig):
    """A user's function, `module:function`, called for each completion.

    Its parameters are any of `prompt` (messages), `completion` (text) and the row's columns, by
    name; it returns a number. The module is a file in `folder` (set to the recipe's folder when the
    recipe is loaded), else an importable module.
    """

    python: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    folder: str | None = None

    @property
    def file(self) -> Path | None:
        """The module's file in `folder`; None if it does not exist."""
        path = Path(self.folder or "", *self.python.partition(":")[0].split(".")).with_suffix(".py")
        return path if self.folder is not None and path.is_file() else None


#: Built-in rewards by name; TRL's rewards have their names in `trl.rewards`.
BUILTIN: dict[str, type[RewardConfig]] = {
    "correctness": CorrectnessConfig,
    "brevity": RewardConfig,
    "format": FormatConfig,
    "length": LengthConfig,
    "repetition": RepetitionConfig,
    "reward_model": RewardConfig,
    "reasoning_gym": RewardConfig,
    "accuracy_reward": RewardConfig,
    "reasoning_accuracy_reward": ReasoningAccuracyConfig,
    "think_format_reward": RewardConfig,
    "get_cosine_scaled_reward": CosineScaledConfig,
    "get_repetition_penalty_reward": RepetitionPenaltyConfig,
    "get_soft_overlong_punishment": SoftOverlongConfig,
}
NAME = r"[A-Za-z][A-Za-z0-9_-]*"


def configure(raw: Any) -> dict[str, RewardConfig]:
    """Rewards from plain data: name → a number (the weight), or a mapping with the weight.

    ValueError names an unknown reward with the allowed and similar names, or a wrong option.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(
            f"rewards are names with weights, e.g. {{correctness: 1.0, brevity: 0.2}}; got {raw!r}"
        )
    return {str(name): _one(str(name), value) for name, value in raw.items()}


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
