"""Search spaces that may stand in a recipe where a value would, and fields tied to others."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, WrapValidator, model_validator

Value = float | int | str | bool
Kind = Literal["loguniform", "uniform", "int", "choice"]
KINDS: tuple[str, ...] = get_args(Kind)


class Space(BaseModel):
    """`{loguniform: [low, high], default: x}` and its kin, as one typed object.

    `low` and `high` are inclusive. `values` is used by `choice` alone. `default` is what trial 0
    uses: the geometric middle of a `loguniform`, the middle of a `uniform` or `int`, the first
    of a `choice`, unless the recipe names one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    low: float = 0.0
    high: float = 0.0
    values: tuple[Value, ...] = ()
    log: bool = False
    default: Value = 0.0

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, raw: Any) -> Any:
        """Accept the recipe's short form; the long form is what `model_dump` wrote."""
        if not isinstance(raw, Mapping) or "kind" in raw:
            return raw
        kinds = [key for key in raw if key in KINDS]
        if len(kinds) != 1:
            raise ValueError(
                f"a search space needs exactly one of {', '.join(KINDS)}; got {sorted(raw)}"
            )
        kind = kinds[0]
        allowed = {kind, "default", *(["log"] if kind == "int" else [])}
        if unknown := set(raw) - allowed:
            raise ValueError(f"{kind} does not take {sorted(unknown)}; allowed: {sorted(allowed)}")
        return _choice(raw) if kind == "choice" else _interval(kind, raw)

    def contains(self, value: Value) -> bool:
        """Whether a trial may hold `value`."""
        if self.kind == "choice":
            return value in self.values
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        whole = self.kind != "int" or value == int(value)
        return self.low <= value <= self.high and whole

    def ends(self) -> tuple[Value, ...]:
        """Its lowest and its highest value, or every choice."""
        if self.kind == "choice":
            return self.values
        return (int(self.low), int(self.high)) if self.kind == "int" else (self.low, self.high)

    def short(self) -> dict[str, Any]:
        """The form that a recipe's author writes."""
        if self.kind == "choice":
            return {"choice": list(self.values), "default": self.default}
        bounds: list[float] = [self.low, self.high]
        if self.kind == "int":
            bounds = [int(self.low), int(self.high)]
        extra = {"log": True} if self.kind == "int" and self.log else {}
        return {self.kind: bounds, **extra, "default": self.default}


def _choice(raw: Mapping[str, Any]) -> dict[str, Any]:
    values = raw["choice"]
    if not isinstance(values, list | tuple) or not values:
        raise ValueError("empty search space: choice needs a list with at least one value")
    default = raw.get("default", values[0])
    if default not in values:
        raise ValueError(f"default {default!r} is not among the choices {list(values)}")
    return {"kind": "choice", "values": tuple(values), "default": default}


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
    value: float | int = int(default) if kind == "int" else default
    return {"kind": kind, "low": low, "high": high, "log": log, "default": value}


class Tie(BaseModel):
    """A field computed from others of its block: `lora_alpha: 2 * r`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tie: str

    def evaluate(self, names: Mapping[str, Any]) -> float:
        """The value with `names` filled in. ValueError names an unknown name or a bad form."""
        return _evaluate(ast.parse(self.tie, mode="eval").body, names)


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.Name):
        if not isinstance(names.get(node.id), int | float):
            numbers = sorted(
                name for name, value in names.items() if isinstance(value, int | float)
            )
            raise ValueError(f"unknown name '{node.id}'; a tied field may use {numbers}")
        return names[node.id]  # type: ignore[no-any-return]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _evaluate(node.left, names), _evaluate(node.right, names)
        return _OPERATORS[type(node.op)](left, right)  # type: ignore[no-any-return]
    raise ValueError("a tied field may use numbers, names of its block, and + - * / **")


def searched(
    value: Any,
    one: Callable[[Any], Any],
    words: str,
    number: type[int] | type[float] | None = float,
) -> Any:
    """What a field holds: a space, a tie, or what `one` makes of a plain value.

    `one` raises ValueError for a value that the field may not hold; every value of a space must
    pass it. `number` is int or float where intervals and ties fit too, None where only choices do.
    """
    if isinstance(value, Mapping):
        value = (Tie if "tie" in value else Space).model_validate(value)
    if isinstance(value, Tie) and number is None:
        raise ValueError(f"expected {words}; an expression such as '{value.tie}' gives a number")
    if isinstance(value, Tie):
        return value
    if isinstance(value, Space):
        return _within(value, one, words, number)
    if isinstance(value, str) and number is not None and not _is_number(value):
        return _tie(value, words)
    return one(value)


def _within(
    found: Space, one: Callable[[Any], Any], words: str, number: type[int] | type[float] | None
) -> Space:
    if found.kind == "choice":
        values = tuple(one(value) for value in found.values)
        return found.model_copy(update={"values": values, "default": one(found.default)})
    if number is None:
        raise ValueError(f"expected {words}: search it by choice, not {found.kind}")
    if number is int and found.kind != "int":
        raise ValueError(f"expected {words}: search it by int or choice, not {found.kind}")
    one(found.low), one(found.high)
    return found


def _searchable(kind: type[int] | type[float], words: str, allows: Callable[[float], bool]) -> Any:
    def number(value: Any) -> Any:
        wrong = ValueError(f"expected {words} or a search space; got {value!r}")
        if isinstance(value, bool):
            raise wrong
        try:
            found = float(value)  # YAML reads 1e-3 as a string
        except (TypeError, ValueError):
            raise wrong from None
        if not (math.isfinite(found) and allows(found)) or (kind is int and found != int(found)):
            raise wrong
        return kind(found)

    return WrapValidator(lambda value, _union: searched(value, number, words, kind))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _tie(value: str, words: str) -> Tie:
    wrong = ValueError(
        f"expected {words}, a search space such as {{choice: [8, 16]}}, "
        f"or an expression of its block's fields such as '2 * r'; got {value!r}"
    )
    try:
        tree = ast.parse(value, mode="eval")
    except SyntaxError:
        raise wrong from None
    if not any(isinstance(node, ast.BinOp) for node in ast.walk(tree)):
        raise wrong
    return Tie(tie=value)


_Number = float | Space | Tie
SearchedInt = Annotated[
    int | Space | Tie, _searchable(int, "a whole number from 1 on", lambda x: x >= 1)
]
SearchedFloat = Annotated[_Number, _searchable(float, "a number from 0 on", lambda x: x >= 0)]
SearchedPositive = Annotated[_Number, _searchable(float, "a number above 0", lambda x: x > 0)]
SearchedFraction = Annotated[
    _Number, _searchable(float, "a number from 0 to below 1", lambda x: 0 <= x < 1)
]
