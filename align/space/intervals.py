"""Search spaces of numbers between two ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from align.space.spaces import Number, Space, Value, as_number


class Interval(Space):
    """Numbers from `low` to `high`, both included: the base of the kinds that hold numbers.

    The default is the geometric mean of the ends on a log scale, else their midpoint.
    """

    discrete: ClassVar[bool] = False
    #: Whether it holds whole numbers alone.
    whole: ClassVar[bool] = False

    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The ends, the scale and the default. ValueError if no value or default lies between."""
        kind = cls.model_fields["kind"].default
        log = cls._is_log(raw)
        low, high = cls._bounds(kind, raw[kind], log)
        default = cls._default(raw, low, high, log)
        return {"kind": kind, "low": low, "high": high, "log": log, "default": default}

    def checked(self, parse: Callable[[Any], Any], words: str, number: Number | None) -> Interval:
        """The interval itself; ValueError if the field does not take its ends, or no interval."""
        if number is None:
            raise ValueError(f"expected {words}: search it by choice, not {self.kind}")
        if number is int and not self.whole:
            raise ValueError(f"expected {words}: search it by int or choice, not {self.kind}")
        parse(self.low), parse(self.high)
        return self

    def contains(self, value: Value) -> bool:
        """Whether `value` is a number between the ends."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high

    def read(self, value: Value) -> Value:
        """A number or its text as a number. ValueError if it lies outside."""
        return float(self._inside(value))

    def ends(self) -> tuple[Value, ...]:
        """The lowest and the highest number."""
        return (self.low, self.high)

    def distribution(self) -> dict[str, Any]:
        """Optuna's FloatDistribution."""
        attributes = {"low": self.low, "high": self.high, "log": self.log}
        return {"name": "FloatDistribution", "attributes": attributes}

    def place(self, value: Value) -> float:
        """Position of a number between the ends, on the space's scale."""
        low, high, number = self.low, self.high, float(value)
        if self.log:
            low, high, number = math.log(low), math.log(high), math.log(number)
        return 0.5 if low == high else (number - low) / (high - low)

    def marks(self) -> tuple[Value, ...]:
        """Decades and ends on a log scale, else the ends and their middle."""
        if not self.log:
            return (self.low, (self.low + self.high) / 2, self.high)
        first = math.ceil(math.log10(self.low) - 1e-9)
        last = math.floor(math.log10(self.high) + 1e-9)
        between = [10.0**power for power in range(first, last + 1)]
        ends = [
            end
            for end in (self.low, self.high)
            if all(abs(math.log10(end / decade)) > 0.2 for decade in between)
        ]
        return tuple(sorted([*between, *ends]))

    def in_words(self) -> str:
        """`uniform 0 to 0.2`."""
        return f"{self.kind} {self.low:g} to {self.high:g}"

    def _inside(self, value: Value) -> Value:
        number = as_number(value)
        if not self.contains(number):
            raise ValueError(f"{value!r} lies outside {self._told()}")
        return number

    @classmethod
    def _is_log(cls, raw: Mapping[str, Any]) -> bool:
        return bool(cls.model_fields["log"].default)

    @classmethod
    def _bounds(cls, kind: str, bounds: Any, log: bool) -> tuple[float, float]:
        if not isinstance(bounds, list | tuple) or len(bounds) != 2:
            raise ValueError(f"{kind} needs two numbers [low, high]; got {bounds!r}")
        try:
            low, high = (float(bound) for bound in bounds)
        except (TypeError, ValueError):
            raise ValueError(f"{kind} needs two numbers [low, high]; got {bounds!r}") from None
        if not (math.isfinite(low) and math.isfinite(high)) or low > high:
            raise ValueError(f"empty search space: {kind} [{low:g}, {high:g}] holds no value")
        if log and low <= 0:
            raise ValueError(f"{kind} on a log scale needs low > 0; got {low:g}")
        return low, high

    @classmethod
    def _default(cls, raw: Mapping[str, Any], low: float, high: float, log: bool) -> float:
        try:
            default = float(raw.get("default", cls._middle(low, high, log)))
        except (TypeError, ValueError):
            raise ValueError(f"default {raw['default']!r} is not a number") from None
        if not low <= default <= high:
            raise ValueError(f"default {default:g} lies outside [{low:g}, {high:g}]")
        return default

    @classmethod
    def _middle(cls, low: float, high: float, log: bool) -> float:
        return math.sqrt(low * high) if log else (low + high) / 2


class LogUniform(Interval):
    """`{loguniform: [low, high]}`: numbers between both, evenly on a log scale."""

    kind: Literal["loguniform"] = "loguniform"
    log: bool = True


class Uniform(Interval):
    """`{uniform: [low, high]}`: numbers between both, evenly."""

    kind: Literal["uniform"] = "uniform"


class IntRange(Interval):
    """`{int: [low, high]}`: whole numbers; with `log: true` on a log scale."""

    options: ClassVar[tuple[str, ...]] = ("log",)
    discrete: ClassVar[bool] = True
    whole: ClassVar[bool] = True

    kind: Literal["int"] = "int"

    def contains(self, value: Value) -> bool:
        """Whether `value` is a whole number between the ends."""
        return super().contains(value) and float(value).is_integer()

    def read(self, value: Value) -> Value:
        """A number or its text as an integer. ValueError if it is not whole or lies outside."""
        return int(self._inside(value))

    def ends(self) -> tuple[Value, ...]:
        """The lowest and the highest integer."""
        return (int(self.low), int(self.high))

    def spread(self, count: int) -> tuple[Value, ...]:
        """Up to `count` integers, evenly spread from end to end."""
        low, high = int(self.low), int(self.high)
        pieces = max(1, min(count - 1, high - low))
        between = {low + (high - low) * piece // pieces for piece in range(pieces + 1)}
        return tuple(sorted(between))

    def every(self, limit: int) -> tuple[Value, ...]:
        """Every integer from the lowest on, up to `limit` of them."""
        low, high = int(self.low), int(self.high)
        return tuple(range(low, min(high + 1, low + limit)))

    def distribution(self) -> dict[str, Any]:
        """Optuna's IntDistribution."""
        attributes = {"low": int(self.low), "high": int(self.high), "log": self.log}
        return {"name": "IntDistribution", "attributes": attributes}

    def marks(self) -> tuple[Value, ...]:
        """Decades and ends on a log scale, else the ends."""
        return super().marks() if self.log else (self.low, self.high)

    def in_words(self) -> str:
        """`int 4 to 32, log scale`."""
        return super().in_words() + (", log scale" if self.log else "")

    @classmethod
    def _is_log(cls, raw: Mapping[str, Any]) -> bool:
        return bool(raw.get("log", False))

    @classmethod
    def _bounds(cls, kind: str, bounds: Any, log: bool) -> tuple[float, float]:
        low, high = super()._bounds(kind, bounds, log)
        if not (low.is_integer() and high.is_integer()):
            raise ValueError(f"int needs two whole numbers; got [{low:g}, {high:g}]")
        return low, high

    @classmethod
    def _default(cls, raw: Mapping[str, Any], low: float, high: float, log: bool) -> int:
        default = super()._default(raw, low, high, log)
        if not default.is_integer():
            raise ValueError(f"int needs a whole number as its default; got {default:g}")
        return int(default)

    @classmethod
    def _middle(cls, low: float, high: float, log: bool) -> int:
        return round(super()._middle(low, high, log))
