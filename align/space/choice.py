"""A search space of listed values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from align.space.spaces import Number, Space, Value, alike, same, scalar
from align.suggestions import did_you_mean


class Choice(Space):
    """`{choice: [a, b]}`: one of the listed values, the first by default.

    A list among the choices is stored as its comma-joined text.
    """

    discrete: ClassVar[bool] = True

    kind: Literal["choice"] = "choice"
    values: tuple[Value, ...] = ()

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The values and the default. ValueError if there are none, or it is not among them."""
        values = raw["choice"]
        if not isinstance(values, list | tuple) or not values:
            raise ValueError("empty search space: choice needs a list with at least one value")
        choices = [scalar(value) for value in values]
        default = scalar(raw.get("default", choices[0]))
        if not any(alike(default, choice) for choice in choices):
            raise ValueError(f"default {default!r} is not among the choices {choices}")
        return {"kind": "choice", "values": tuple(choices), "default": default}

    def checked(self, parse: Callable[[Any], Any], words: str, number: Number | None) -> Choice:
        """The choices as `parse` returns them; any field may be searched by choice."""
        values = tuple(scalar(parse(value)) for value in self.values)
        return self.model_copy(update={"values": values, "default": scalar(parse(self.default))})

    def contains(self, value: Value) -> bool:
        """Whether `value` is among the choices."""
        return any(same(value, choice) for choice in self.values)

    def read(self, value: Value) -> Value:
        """The choice that `value` is equal to, also as text. ValueError suggests a similar one."""
        match = next((choice for choice in self.values if alike(value, choice)), None)
        if match is None:
            raise ValueError(f"{value!r} is not among {self._told()}{self._near(value)}")
        return match

    def ends(self) -> tuple[Value, ...]:
        """Every choice, in the recipe's order."""
        return self.values

    def every(self, limit: int) -> tuple[Value, ...]:
        """Every choice; a recipe cannot list too many."""
        return self.values

    def ordered(self) -> tuple[Value, ...]:
        """Every choice, sorted if all are numbers."""
        if any(isinstance(value, str | bool) for value in self.values):
            return self.values
        return tuple(sorted(self.values, key=float))

    def distribution(self) -> dict[str, Any]:
        """Optuna's CategoricalDistribution."""
        return {"name": "CategoricalDistribution", "attributes": {"choices": self.values}}

    def place(self, value: Value) -> float:
        """Position of a choice: they are evenly spaced, in the order of `ordered`."""
        choices = self.ordered()
        index = next(
            (position for position, choice in enumerate(choices) if same(choice, value)), 0
        )
        return 0.5 if len(choices) == 1 else index / (len(choices) - 1)

    def marks(self) -> tuple[Value, ...]:
        """Every choice."""
        return self.ordered()

    def in_words(self) -> str:
        """`choice 8, 16`."""
        return f"choice {', '.join(map(str, self.values))}"

    def _near(self, value: Value) -> str:
        words = [choice for choice in self.values if isinstance(choice, str)]
        return did_you_mean(str(value), words, before="; ")
