"""What a searchable field may hold: a plain value, a search space, or a tie to other fields."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import WrapValidator

from align.space import expressions
from align.space.spaces import Expression, Space, is_space, scalar

Number = type[int] | type[float]


def searched(
    value: Any, parse: Callable[[Any], Any], words: str, number: Number | None = float
) -> Any:
    """What a field holds: a space, a tie, or what `one` makes of a plain value.

    `one` raises ValueError for a value that the field may not hold; every value of a space must
    pass it. `number` is int or float where intervals and ties fit too, None where only choices do.
    """
    if isinstance(value, Mapping):
        value = (Expression if "tie" in value else Space).model_validate(value)
    if isinstance(value, Expression) and number is None:
        raise ValueError(f"expected {words}; an expression such as '{value.tie}' gives a number")
    if isinstance(value, Expression):
        return value
    if isinstance(value, Space):
        return _within(value, parse, words, number)
    if isinstance(value, str) and number is not None and not _is_number(value):
        return _tie(value, words)
    return parse(value)


def numeric(kind: Number, words: str, allows: Callable[[float], bool]) -> WrapValidator:
    """The check of a numeric field; `words` say which numbers `allows` lets through."""

    def number(value: Any) -> Any:
        refusal = ValueError(f"expected {words} or a search space; got {value!r}")
        if isinstance(value, bool):
            raise refusal
        try:
            parsed = float(value)  # YAML reads 1e-3 as a string
        except (TypeError, ValueError):
            raise refusal from None
        if not (math.isfinite(parsed) and allows(parsed)) or (
            kind is int and parsed != int(parsed)
        ):
            raise refusal
        return kind(parsed)

    return WrapValidator(lambda value, _union: searched(value, number, words, kind))


def whole(low: int) -> WrapValidator:
    """The check of a whole number from `low` on."""
    return numeric(int, f"a whole number from {low} on", lambda x: x >= low)


def one_of(names: tuple[str, ...]) -> WrapValidator:
    """The check of a field that has one of these names."""
    words = f"one of {', '.join(names)}"

    def name(value: Any) -> Any:
        if value in names:
            return value
        near = difflib.get_close_matches(str(value), names, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"expected {words}; got {value!r}{hint}")

    return WrapValidator(lambda value, _union: searched(value, name, words, None))


#: Fields of a stage that no trial has for itself, and why.
_ONE_FOR_ALL = {
    "method": "trials of different methods cannot be compared; make a stage for each",
    "parent": "trials on different parents cannot be compared; make a stage for each",
    "reward_model": "trials are judged by one reward model; make a stage for each",
    "data": "trials are compared on the same rows; make a stage for each",
    "objective": "it is what trials are compared by",
    "rewards": "they are what trials are judged by, and stay the same for all",
    "constraints": "they are what trials are judged by, and stay the same for all",
    "sweep": "it says how to search, and is no field of a trial",
    "budget_seconds": "it is no field of a trial",
    "save_steps": "where checkpoints lie changes no result",
}


def unsearched(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields of a stage's raw data that hold a space and cannot, with the reason."""
    for name, reason in _ONE_FOR_ALL.items():
        value = raw.get(name)
        inner = value.values() if isinstance(value, Mapping) else ()
        if is_space(value) or any(map(is_space, inner)):
            yield name, f"this field takes one value and cannot be searched: {reason}"


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false; got {value!r}")
    return value


def _within(space: Space, parse: Callable[[Any], Any], words: str, number: Number | None) -> Space:
    if space.kind == "choice":
        values = tuple(scalar(parse(value)) for value in space.values)
        default = scalar(parse(space.default))
        return space.model_copy(update={"values": values, "default": default})
    if number is None:
        raise ValueError(f"expected {words}: search it by choice, not {space.kind}")
    if number is int and space.kind != "int":
        raise ValueError(f"expected {words}: search it by int or choice, not {space.kind}")
    parse(space.low), parse(space.high)
    return space


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _tie(value: str, words: str) -> Expression:
    if not expressions.is_calculation(value):
        raise ValueError(
            f"expected {words}, a search space such as {{choice: [8, 16]}}, "
            f"or an expression of the stage's fields such as '2 * r'; got {value!r}"
        )
    expressions.read(value)
    return Expression(tie=value)


_Number = float | Space | Expression
SearchedInt = Annotated[int | Space | Expression, whole(1)]
SearchedFloat = Annotated[_Number, numeric(float, "a number from 0 on", lambda x: x >= 0)]
SearchedPositive = Annotated[_Number, numeric(float, "a number above 0", lambda x: x > 0)]
SearchedFraction = Annotated[
    _Number, numeric(float, "a number from 0 to below 1", lambda x: 0 <= x < 1)
]

# Whoever computes with these fields has a resolved stage, in which they are plain values: so that
# is their type. What looks at a stage before asks `isinstance(value, Space | Tie)`.
if TYPE_CHECKING:
    Whole: TypeAlias = int
    Float: TypeAlias = float
    Flag: TypeAlias = bool
    Text: TypeAlias = str
    Names: TypeAlias = str | list[str]
else:
    Whole = int | Space | Expression
    Float = int | float | Space | Expression
    Flag = Annotated[
        bool | Space,
        WrapValidator(lambda value, _union: searched(value, _flag, "true or false", None)),
    ]
    Text = str | Space
    Names = str | list[str] | Space
