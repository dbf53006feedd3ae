"""Search spaces that may stand in a recipe where a value would, and fields tied to others."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, PlainValidator, model_validator

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
        return isinstance(value, int | float) and self.low <= value <= self.high

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
    default = float(raw.get("default", middle))
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


def _searchable(kind: type) -> Any:
    def parse(value: Any) -> Any:
        if isinstance(value, Space | Tie):
            return value
        if isinstance(value, Mapping):
            return Tie.model_validate(value) if "tie" in value else Space.model_validate(value)
        if isinstance(value, bool):
            raise ValueError(f"expected {_words(kind)} or a search space; got {value!r}")
        try:
            number = float(value)  # YAML reads 1e-3 as a string
        except (TypeError, ValueError):
            return _tie(value, kind)
        if not math.isfinite(number) or (kind is int and number != int(number)):
            raise ValueError(f"expected {_words(kind)} or a search space; got {value!r}")
        return kind(number)

    return PlainValidator(parse)


def _tie(value: Any, kind: type) -> Tie:
    wrong = ValueError(
        f"expected {_words(kind)}, a search space such as {{choice: [8, 16]}}, "
        f"or an expression of its block's fields such as '2 * r'; got {value!r}"
    )
    if not isinstance(value, str):
        raise wrong
    try:
        tree = ast.parse(value, mode="eval")
    except SyntaxError:
        raise wrong from None
    if not any(isinstance(node, ast.BinOp) for node in ast.walk(tree)):
        raise wrong
    return Tie(tie=value)


def _words(kind: type) -> str:
    return "a whole number" if kind is int else "a number"


SearchedFloat = Annotated[float | Space | Tie, _searchable(float)]
SearchedInt = Annotated[int | Space | Tie, _searchable(int)]
