"""A benchmark as it is seen while it runs. Always on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence

from rich.console import Console

from align.progress_lines import clock_time


class Clock:
    """Estimates what is left from what each kind of run took.

    `now` gives seconds. Runs of a kind not seen yet are taken for average ones.
    """

    def __init__(self, plan: Sequence[Hashable], now: Callable[[], float] = time.monotonic):
        self._left = list(plan)
        self._took: dict[Hashable, float] = {}
        self._now, self._since = now, now()

    def done(self) -> None:
        """The next run of the plan is over."""
        self._took[self._left.pop(0)] = self._now() - self._since
        self._since = self._now()

    @property
    def left(self) -> float:
        """Seconds for the rest of the plan."""
        average = sum(self._took.values()) / max(1, len(self._took))
        return sum(self._took.get(kind, average) for kind in self._left)


class Progress:
    """One line for each run, with the time left."""

    def __init__(self, plan: Sequence[Hashable], console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._clock, self._total, self._done = Clock(plan), len(plan), 0

    def say(self, text: str) -> None:
        """A line that is no run."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def run(self, text: str) -> None:
        """A run is over."""
        self._clock.done()
        self._done += 1
        left = clock_time(self._clock.left)
        self.say(f"{self._done}/{self._total} {text}, about {left} left")
