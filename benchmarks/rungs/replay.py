"""A search replayed from learning curves: which trials end at rungs, and what that spares."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from benchmarks.rungs.curves import StageCurves

#: Trials that run side by side.
PLACES = 2
#: The trial that is never pruned, as in every search.
DEFAULT = 0


class Decisions(Protocol):
    """Decides on the trials of one search. Trials are numbers, rungs indices 0, 1, …"""

    def report(self, number: int, rung: int, values: Sequence[float]) -> None:
        """Hear of a trial that has reached a rung; `values` of its items, more is better."""

    def passes(self, number: int, rung: int) -> bool:
        """Whether a reported trial passes the rung; asked once for each trial and rung."""

    def end(self, number: int, objective: float | None) -> None:
        """Hear that a trial has ended, with its objective or (None) at a rung."""


@dataclass(frozen=True)
class Replay:
    """A finished search: the steps that all trials took, and the configurations that completed."""

    steps: int
    completed: frozenset[int]


@dataclass(frozen=True)
class Search:
    """What is searched: trial `number` has the configuration `order[number]`.

    `metric` is what trials are compared by at rungs.
    """

    stage: StageCurves
    metric: str
    order: Sequence[int]

    @property
    def lengths(self) -> list[int]:
        """The steps from each measuring point to the next."""
        return [end - begin for begin, end in pairwise([0, *self.stage.steps])]

    def report(self, decisions: Decisions, number: int, rung: int) -> bool:
        """Tell the decisions that a trial has reached a rung; False if it fails there.

        A trial fails if its metric is no finite number, as after a divergence.
        """
        curve = self.stage.curves[self.order[number]]
        values = curve.points[self.stage.steps[rung]].promise(self.metric)
        if not all(map(math.isfinite, values)):
            decisions.end(number, None)
            return False
        decisions.report(number, rung, values)
        return True

    def passes(self, decisions: Decisions, number: int, rung: int) -> bool:
        """Whether a trial goes on; the decisions hear of a trial that does not."""
        passed = decisions.passes(number, rung) or number == DEFAULT
        if not passed:
            decisions.end(number, None)
        return passed

    def complete(self, decisions: Decisions, number: int) -> None:
        """Tell the decisions that a trial has taken all its steps."""
        decisions.end(number, self.stage.validation(self.order[number]))


Bracket = Callable[[Search, Decisions], Replay]


def asynchronous(search: Search, decisions: Decisions) -> Replay:
    """Each trial is decided on as it arrives at a rung; `PLACES` run at a time, by their numbers.

    The clock counts steps. Of trials that arrive at the same time the lowest number is first.
    """
    lengths = search.lengths
    last = len(lengths) - 1
    running = [(lengths[0], number, 0) for number in range(min(PLACES, len(search.order)))]
    begun, steps, completed = len(running), 0, set()
    while running:
        now, number, rung = heapq.heappop(running)
        steps += lengths[rung]
        if rung < last:
            reported = search.report(decisions, number, rung)
            if reported and search.passes(decisions, number, rung):
                heapq.heappush(running, (now + lengths[rung + 1], number, rung + 1))
                continue
        else:
            search.complete(decisions, number)
            completed.add(search.order[number])
        if begun < len(search.order):
            heapq.heappush(running, (now + lengths[0], begun, 0))
            begun += 1
    return Replay(steps, frozenset(completed))


def synchronous(search: Search, decisions: Decisions) -> Replay:
    """All trials reach a rung before any is decided on there, by their numbers."""
    *lengths, rest = search.lengths
    running = list(range(len(search.order)))
    steps = 0
    for rung, length in enumerate(lengths):
        steps += length * len(running)
        running = [number for number in running if search.report(decisions, number, rung)]
        running = [number for number in running if search.passes(decisions, number, rung)]
    for number in running:
        search.complete(decisions, number)
    steps += rest * len(running)
    return Replay(steps, frozenset(search.order[number] for number in running))


BRACKETS: dict[str, Bracket] = {"asynchronous": asynchronous, "synchronous": synchronous}
