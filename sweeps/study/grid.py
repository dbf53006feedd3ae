"""Grid search: every combination of a search space's values once, in seeded random order."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from align.recipe import Space, StageConfig
from align.space.spaces import Value
from sweeps.errors import SweepError
from sweeps.study.distributions import distribution, words

_FIELD = "sweep.sampler_options.search_space"

#: The largest number of points of a grid.
MOST = 10_000


class Grid:
    """The points that a grid search tries."""

    def __init__(self, stage: StageConfig, given: Mapping[str, Any], seed: int) -> None:
        """Make the points from choices, integers, and `given`: lists of values by field.

        SweepError names a field that has no finite list of values, or an error in a given list.
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
        """The points that are not among `tried`."""
        tried_keys = {key(point) for point in tried}
        return [point for point in self.points if key(point) not in tried_keys]


def key(point: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    """A hashable key of a point, independent of the order of its fields."""
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


def _values(path: str, space: Space, lists: Mapping[str, Any]) -> tuple[Value, ...]:
    if path in lists:
        values = lists[path]
        if not isinstance(values, list) or not values:
            raise SweepError(f"{_FIELD}.{path}: expected a list of values; got {values!r}")
        try:
            return tuple(dict.fromkeys(space.read(value) for value in values))
        except ValueError as error:
            raise SweepError(f"{_FIELD}.{path}: {error}") from None
    if (every := space.every(MOST + 1)) is not None:
        return every
    raise SweepError(
        f"sweep.sampler: a grid cannot hold every value of {path}: "
        f"{words(distribution(space))}; make it a choice, take another sampler, or with grid "
        f"list its values in sampler_options: {{search_space: {{{path}: [...]}}}}"
    )
