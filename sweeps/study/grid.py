"""Every combination of a search space's values, once, in an order from the seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from align.recipe import Space, StageConfig
from align.space.spaces import Value
from sweeps.errors import SweepError

_FIELD = "sweep.sampler_options.search_space"

#: Points beyond which a grid is no plan any more.
MOST = 10_000


class Grid:
    """The points that a grid search tries."""

    def __init__(self, stage: StageConfig, given: Mapping[str, Any], seed: int) -> None:
        """Points from choices and whole numbers, and from `given`, lists of values by field.

        SweepError names a field that cannot be gridded, or what is wrong with a list.
        """
        spaces = stage.space()
        values = {path: _values(path, space, given) for path, space in spaces.items()}
        if unknown := set(given) - set(spaces):
            raise SweepError(
                f"{_FIELD}: not searched here: {', '.join(sorted(unknown))}; "
                f"searched: {', '.join(spaces)}"
            )
        self.points: list[dict[str, Value]] = []
        for point in _walk(stage, stage.search_order(), values, {}):
            if len(self.points) == MOST:
                raise SweepError(
                    f"sweep.sampler: a grid over {', '.join(spaces)} has more than {MOST:,} "
                    "points; give fewer values, or take another sampler"
                )
            self.points.append(point)
        random.Random(seed).shuffle(self.points)

    def left(self, tried: Iterable[Mapping[str, Value]]) -> list[dict[str, Value]]:
        """The points that nobody tried yet."""
        known = {key(one) for one in tried}
        return [point for point in self.points if key(point) not in known]


def key(point: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    """What two mappings of the same values have in common, whatever their order."""
    return tuple(sorted(point.items()))


def _walk(
    stage: StageConfig,
    order: list[str],
    values: Mapping[str, tuple[Value, ...]],
    chosen: dict[str, Value],
) -> Iterator[dict[str, Value]]:
    if not order:
        yield chosen
        return
    path, rest = order[0], order[1:]
    if not stage.is_active(path, chosen):
        yield from _walk(stage, rest, values, chosen)
        return
    for value in values[path]:
        yield from _walk(stage, rest, values, {**chosen, path: value})


def _values(path: str, space: Space, given: Mapping[str, Any]) -> tuple[Value, ...]:
    if path in given:
        listed = given[path]
        if not isinstance(listed, list) or not listed:
            raise SweepError(f"{_FIELD}.{path}: expected a list of values; got {listed!r}")
        try:
            return tuple(dict.fromkeys(space.read(one) for one in listed))
        except ValueError as error:
            raise SweepError(f"{_FIELD}.{path}: {error}") from None
    if space.kind == "choice":
        return space.values
    if space.kind == "int":
        low, high = int(space.low), int(space.high)
        return tuple(range(low, min(high, low + MOST) + 1))
    raise SweepError(
        f"sweep.sampler: a grid cannot hold every value of {path}: {space.kind} "
        f"[{space.low:g}, {space.high:g}]; make it a choice, take another sampler, or with grid "
        f"list its values in sampler_options: {{search_space: {{{path}: [...]}}}}"
    )
