"""Types of searchable fields: a plain value, a search space, or an expression of other fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import SerializeAsAny, WrapValidator

from align.space import expressions
from align.space.spaces import Expression, Number, Space, is_space
from align.suggestions import did_you_mean


def searched(
    value: Any, parse: Callable[[Any], Any], words: str, number: Number | None = float
) -> Any:
    """The value of a field: a search space, an expression, or a plain value as `parse` returns it.

    `parse` raises ValueError for a value that the field may not hold; every value of a space must
    pass it. `number` is int or float for a field that also takes intervals and expressions, None
    for a field that takes only choices.
    """
    if isinstance(value, Mapping):
        value = (Expression if "tie" in value else Space).model_validate(value)
    if isinstance(value, Expression) and number is None:
        raise ValueError(f"expected {words}; an expression such as '{value.tie}' gives a number")
    if isinstance(value, Expression):
        return value
    if isinstance(value, Space):
        return value.checked(parse, words, number)
    if isinstance(value, str) and number is not None and not _is_number(value):
        return _tie(value, words)
    return parse(value)


def numeric(kind: Number, words: str, allows: Callable[[float], bool]) -> WrapValidator:
    """Validator of a numeric field; `words` describe the numbers that `allows` accepts."""

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
    """Validator of a whole number of at least `low`."""
    return numeric(int, f"a whole number from {low} on", lambda x: x >= low)


def one_of(names: tuple[str, ...]) -> WrapValidator:
    """Validator of a field whose value is one of `names`."""
    words = f"one of {', '.join(names)}"

    def name(value: Any) -> Any:
        if value in names:
            return value
        hint = did_you_mean(str(value), names, before="; ")
        raise ValueError(f"expected {words}; got {value!r}{hint}")

    return WrapValidator(lambda value, _union: searched(value, name, words, None))


#: Fields of a stage that are the same in all trials, with the reason.
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
    """Fields of a stage's raw data that hold a search space but cannot be searched; the reason."""
    for name, reason in _ONE_FOR_ALL.items():
        value = raw.get(name)
        inner = value.values() if isinstance(value, Mapping) else ()
        if is_space(value) or any(map(is_space, inner)):
            yield name, f"this field takes one value and cannot be searched: {reason}"


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false; got {value!r}")
    return value


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


#: A space is written by its own class: some kinds have fields that others lack.
AnySpace = SerializeAsAny[Space]
_Number = float | AnySpace | Expression
SearchedInt = Annotated[int | AnySpace | Expression, whole(1)]
SearchedFloat = Annotated[_Number, numeric(float, "a number from 0 on", lambda x: x >= 0)]
SearchedPositive = Annotated[_Number, numeric(float, "a number above 0", lambda x: x > 0)]
SearchedFraction = Annotated[
    _Number, numeric(float, "a number from 0 to below 1", lambda x: 0 <= x < 1)
]

# In a resolved stage these fields are plain values, so type checkers see plain types. Code that
# reads an unresolved stage checks `isinstance(value, Space | Expression)`.
if TYPE_CHECKING:
    Whole: TypeAlias = int
    Float: TypeAlias = float
    Flag: TypeAlias = bool
    Text: TypeAlias = str
    Names: TypeAlias = str | list[str]
else:
    Whole = int | AnySpace | Expression
    Float = int | float | AnySpace | Expression
    Flag = Annotated[
        bool | AnySpace,
        WrapValidator(lambda value, _union: searched(value, _flag, "true or false", None)),
    ]
    Text = str | AnySpace
    Names = str | list[str] | AnySpace
