"""JSON's values, and those that no row may hold: NaN, repeated names, halves of characters."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")

Place = tuple[str | int, ...]


class ValueProblem(ValueError):
    """A value that JSON's parser reads, but that no row may hold; `kind` names the class of it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Repeated(dict[str, Any]):
    """An object in which the name `name` stands more than once."""

    name = ""


class JsonDecoder:
    """JSON's decoder, which remembers whether a text held NaN, an infinity or a repeated name."""

    def __init__(self) -> None:
        self._suspicious = False
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=self._constant
        )

    def decode(self, text: str) -> Any:
        """The value of a text that begins with it and holds nothing else.

        ValueProblem for the first value that no row may hold; else as json.loads.
        """
        value, end = self._decoder.raw_decode(text)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        if check := self.needed_check(text):
            check(value)
        return value

    def raw_decode(self, text: str, position: int) -> tuple[Any, int]:
        """The value that begins at `position` and where it ends. The value is not checked."""
        value, end = self._decoder.raw_decode(text, position)
        return value, end

    def needed_check(self, text: str) -> Callable[[Any], None] | None:
        """The check of the values that were decoded from `text`; None if it can hold no problem."""
        suspicious, self._suspicious = self._suspicious, False
        if suspicious:
            return check_value
        return _check_text if "\\ud" in text or "\\uD" in text else None

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) == len(pairs):
            return value
        self._suspicious = True
        repeated = _Repeated(value)
        repeated.name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        return repeated

    def _constant(self, name: str) -> float:
        self._suspicious = True
        return float(name)


def check_value(row: Any) -> None:
    """ValueProblem for the first value in `row`, if it is an object, that no row may hold."""
    if not isinstance(row, dict):
        return
    for place, value in _values((), row):
        if isinstance(value, _Repeated):
            within = f"{_named(place)}: " if place else ""
            raise ValueProblem(
                "repeated", f"{within}the name {value.name!r} stands twice in an object; leave one"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueProblem(
                "constant",
                f"{_named(place)} is {value}, which is not JSON; write null for an absent value",
            )
        if isinstance(value, str) and (half := _SURROGATE.search(value)):
            near = value[max(half.start() - 12, 0) : half.end() + 6]
            raise ValueProblem(
                "surrogate",
                f"{_named(place)} holds half of a surrogate pair, {half[0]!r} in {near!r}, as a "
                "cut emoji leaves: this is no text; remove it or write the whole character",
            )


def _check_text(row: Any) -> None:
    """As `check_value`, for halves of surrogate pairs alone, and about ten times as fast."""
    try:
        _encode(row)
    except UnicodeEncodeError:
        check_value(row)


def _encode(value: Any) -> None:
    """UnicodeEncodeError if there is half of a surrogate pair in `value`."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for name, item in value.items():
            name.encode()
            _encode(item)
    elif isinstance(value, list):
        for item in value:
            _encode(item)


def _values(place: Place, value: Any) -> Iterator[tuple[Place, Any]]:
    """All values and names in `value` with their places."""
    yield place, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield (*place, name), name
            yield from _values((*place, name), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values((*place, index), item)


def _named(place: Place) -> str:
    """A place such as `column 'messages', [0].content`."""
    parts = (
        f".{part}" if isinstance(part, str) and part.isidentifier() else f"[{part!r}]"
        for part in place[1:]
    )
    below = "".join(parts).removeprefix(".")
    return f"column {place[0]!r}" + (f", {below}" if below else "")
