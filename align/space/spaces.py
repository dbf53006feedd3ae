"""Search spaces and expressions: what a recipe may hold in place of a field's value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from align.space import expressions
from align.suggestions import did_you_mean

Value = float | int | str | bool
Kind = Literal["loguniform", "uniform", "int", "choice"]
KINDS: tuple[str, ...] = get_args(Kind)
#: A condition: for each field, by dotted path, the values that permit the search.
When = dict[str, tuple[Value, ...]]

_LISTED = re.compile(r"[\w.-]+(,[\w.-]+)*")


class Space(BaseModel):
    """`{loguniform: [low, high], default: x, when: {field: value}}` as a typed object.

    `low` and `high` are inclusive. `values` is used by `choice` only; a list among the choices is
    stored as its comma-joined text. `default` is the value of trial 0. Unless the recipe sets it,
    it is the geometric mean of the ends of a `loguniform` or logarithmic `int`, the midpoint of
    another interval, or the first `choice`. The space is active in trials where each field of
    `when` has a value listed there. In other trials the field has its default and is not among
    the trial's parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    low: float = 0.0
    high: float = 0.0
    values: tuple[Value, ...] = ()
    log: bool = False
    default: Value = 0.0
    when: When = {}

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, raw: Any) -> Any:
        """Accept the recipe's short form, and the long form that `model_dump` writes."""
        if not isinstance(raw, Mapping) or "kind" in raw:
            return raw
        kinds = [key for key in raw if key in KINDS]
        if len(kinds) != 1:
            raise ValueError(
                f"a search space needs exactly one of {', '.join(KINDS)}; got {sorted(raw)}"
            )
        kind = kinds[0]
        allowed = {kind, "default", "when", *(["log"] if kind == "int" else [])}
        if unknown := set(raw) - allowed:
            raise ValueError(f"{kind} does not take {sorted(unknown)}; allowed: {sorted(allowed)}")
        fields = _choice(raw) if kind == "choice" else _interval(kind, raw)
        return {**fields, "when": _when(raw["when"]) if "when" in raw else {}}

    def contains(self, value: Value) -> bool:
        """Whether `value` lies in the space."""
        if self.kind == "choice":
            return any(same(value, choice) for choice in self.values)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        integral = self.kind != "int" or value == int(value)
        return self.low <= value <= self.high and integral

    def read(self, value: Value) -> Value:
        """Convert a value from a recipe (YAML reads 1e-3 as text) to a trial's value.

        ValueError if the space does not contain it.
        """
        if self.kind == "choice":
            match = next(
                (choice for choice in self.values if same(_number(value), _number(choice))), None
            )
            if match is None:
                raise ValueError(f"{value!r} is not among {self._told()}{self._near(value)}")
            return match
        number = _number(value)
        if not self.contains(number):
            raise ValueError(f"{value!r} lies outside {self._told()}")
        return int(number) if self.kind == "int" else float(number)

    def ends(self) -> tuple[Value, ...]:
        """The lowest and the highest value, or every choice."""
        if self.kind == "choice":
            return self.values
        return (int(self.low), int(self.high)) if self.kind == "int" else (self.low, self.high)

    def spread(self, count: int) -> tuple[Value, ...]:
        """Every choice, the ends of an interval, or up to `count` spread values of an `int`."""
        if self.kind != "int":
            return self.ends()
        low, high = int(self.low), int(self.high)
        pieces = max(1, min(count - 1, high - low))
        between = {low + (high - low) * piece // pieces for piece in range(pieces + 1)}
        return tuple(sorted(between))

    def short(self) -> dict[str, Any]:
        """The short form, as written in a recipe."""
        bounds: list[Value] = list(self.ends())
        extra: dict[str, Any] = {"log": True} if self.kind == "int" and self.log else {}
        conditions = {
            name: values[0] if len(values) == 1 else list(values)
            for name, values in self.when.items()
        }
        return {
            self.kind: bounds,
            **extra,
            "default": self.default,
            **({"when": conditions} if conditions else {}),
        }

    def _told(self) -> str:
        return str({self.kind: list(self.ends())})

    def _near(self, value: Value) -> str:
        words = [choice for choice in self.values if isinstance(choice, str)]
        return did_you_mean(str(value), words, before="; ")


class Expression(BaseModel):
    """A field computed from other fields of its block or stage: `lora_alpha: 2 * r`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tie: str

    @property
    def names(self) -> list[str]:
        """The names in the expression, as written. ValueError if it is not arithmetic."""
        return expressions.names_in(expressions.read(self.tie))


def same(first: Value, second: Value) -> bool:
    """Whether two values are equal and both or neither Boolean: 8 equals 8.0, 1 is not true."""
    return first == second and isinstance(first, bool) == isinstance(second, bool)


def alike(first: Value, second: Value) -> bool:
    """Like `same`, but text that is a number (YAML's 1e-3) counts as that number."""
    return same(_number(first), _number(second))


def scalar(value: Any) -> Any:
    """A list of names or numbers as comma-joined text: `q_proj,v_proj`.

    Other values are returned unchanged. ValueError if `listed` would not restore the list.
    """
    if not isinstance(value, list | tuple):
        return value
    names = [str(item) for item in value if type(item) in (str, int, float)]
    text = ",".join(names)
    if not names or len(names) != len(value) or listed(text) != names:
        raise ValueError(f"a value to search is one value or a list of names; got {value!r}")
    return text


def listed(text: str) -> list[str]:
    """The names in comma-joined text; empty for other text, such as a regular expression."""
    return text.split(",") if _LISTED.fullmatch(text) else []


def is_space(raw: Any) -> bool:
    """Whether raw data have the form of a search space."""
    names = {"default", "log", "when"}
    return (
        isinstance(raw, Mapping)
        and any(isinstance(raw.get(kind), list) for kind in KINDS)
        and set(raw) <= {*KINDS, *names}
    )


def _number(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _when(raw: Any) -> When:
    if not isinstance(raw, Mapping) or not raw:
        raise ValueError(f"when needs {{field: value}} or {{field: [values]}}; got {raw!r}")
    conditions: When = {}
    for name, values in raw.items():
        allowed = tuple(values) if isinstance(values, list | tuple) else (values,)
        if not allowed or not all(isinstance(value, int | float | str) for value in allowed):
            raise ValueError(f"when: {name} needs a value or a list of values; got {values!r}")
        conditions[str(name)] = allowed
    return conditions


def _choice(raw: Mapping[str, Any]) -> dict[str, Any]:
    values = raw["choice"]
    if not isinstance(values, list | tuple) or not values:
        raise ValueError("empty search space: choice needs a list with at least one value")
    choices = [scalar(value) for value in values]
    default = scalar(raw.get("default", choices[0]))
    if not any(alike(default, choice) for choice in choices):
        raise ValueError(f"default {default!r} is not among the choices {choices}")
    return {"kind": "choice", "values": tuple(choices), "default": default}


def _interval(kind: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    bounds = raw[kind]
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        raise ValueError(f"{kind} needs two numbers [low, high]; got {bounds!r}")
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        raise ValueError(f"{kind} needs two numbers [low, high]; got {bounds!r}") from None
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise ValueError(f"empty search space: {kind} [{low:g}, {high:g}] holds no value")
    log = kind == "loguniform" or bool(raw.get("log", False))
    if log and low <= 0:
        raise ValueError(f"{kind} on a log scale needs low > 0; got {low:g}")
    middle = math.sqrt(low * high) if log else (low + high) / 2
    if kind == "int":
        if low != int(low) or high != int(high):
            raise ValueError(f"int needs two whole numbers; got [{low:g}, {high:g}]")
        middle = round(middle)
    try:
        default = float(raw.get("default", middle))
    except (TypeError, ValueError):
        raise ValueError(f"default {raw['default']!r} is not a number") from None
    if not low <= default <= high:
        raise ValueError(f"default {default:g} lies outside [{low:g}, {high:g}]")
    if kind == "int" and default != int(default):
        raise ValueError(f"int needs a whole number as its default; got {default:g}")
    value: float | int = int(default) if kind == "int" else default
    return {"kind": kind, "low": low, "high": high, "log": log, "default": value}
