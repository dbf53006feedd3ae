"""The parts of a long run: how far the running part is, what each took, and its budget."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

from rich.console import Console
from rich.table import Table

from align.progress_lines import SILENCE, ProgressLines, counted


class PartTimes:
    """Seconds of a run's parts. `budgets` are the seconds that each part and the total may take.

    While a part runs, a line about it is printed on `console` whenever none was for `every`
    seconds.
    """

    def __init__(
        self, console: Console, budgets: Mapping[str, float], every: float = SILENCE
    ) -> None:
        self.seconds: dict[str, float] = {}
        self._console, self._budgets, self._every = console, budgets, every
        self._lock, self._done, self._started = Lock(), 0, time.monotonic()

    @property
    def total(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started

    @contextmanager
    def part(self, name: str, pieces: int, of: str) -> Iterator[None]:
        """Measure the time of a part that consists of `pieces` systems, users or the like."""
        self._done, since = 0, time.monotonic()

        def state() -> str:
            return f"   {name}, {of}: {counted(self._done, pieces, time.monotonic() - since)}"

        with ProgressLines(state, self._console, self._every):
            yield
        self.seconds[name] = seconds = time.monotonic() - since
        text = f"[dim]   {name}: {seconds:.0f} s of {self._budgets[name]:.0f} s[/]"
        self._console.print(text, soft_wrap=True)

    def count(self, *_: Any) -> None:
        """Count a finished piece of the running part; any thread may call it."""
        with self._lock:
            self._done += 1

    def table(self) -> Table:
        """A table of the seconds that each part took, and its budget."""
        table = Table("seconds", "took", "budget", box=None, pad_edge=False, header_style="dim")
        for part, seconds in {**self.seconds, "total": self.total}.items():
            table.add_row(part, f"{seconds:.0f}", f"{self._budgets[part]:.0f}")
        return table
