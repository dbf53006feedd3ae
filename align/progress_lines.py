"""Progress of long work as plain lines, for a stderr that is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType

from rich.console import Console

#: Seconds without a line after which the work's state is printed.
SILENCE = 20.0


class ProgressLines:
    """Prints what `state` returns on stderr whenever no line was printed for `every` seconds.

    `with ProgressLines(lambda: f"base: {counted(done, 200, seconds)}") as lines:` around the work;
    `lines.say(text)` prints at once. `state` is called by a thread of its own; an empty text prints
    nothing. `clock` gives seconds.
    """

    def __init__(
        self,
        state: Callable[[], str],
        console: Console | None = None,
        every: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._console = state, console or Console(stderr=True)
        self._every = SILENCE if every is None else every
        self._clock, self._printed = clock, clock()
        self._ended = Event()
        self._thread = Thread(target=self._watch, name="progress lines", daemon=True)

    def __enter__(self) -> ProgressLines:
        self._printed = self._clock()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def say(self, text: str) -> None:
        """Print a line now; the next line of the work's state is due `every` seconds later."""
        self._printed = self._clock()
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def say_if_due(self) -> None:
        """Print the work's state if nothing was printed for `every` seconds."""
        if self._clock() - self._printed >= self._every and (text := self._state()):
            self.say(text)

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._every / 4)):
            try:
                self.say_if_due()
            except OSError:  # stderr is closed or full; the work goes on without lines
                return


def clock_time(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(done: float, total: float, seconds: float) -> str:
    """`30/200, about 2:10 left`: what is left takes as long a piece as the `done` pieces took.

    `seconds` is the time of the work so far. Without any piece done it is shown instead.
    """
    if done <= 0:
        return f"0/{total:g}, {clock_time(seconds)} so far"
    left = seconds / done * max(0.0, total - done)
    return f"{done:g}/{total:g}, about {clock_time(left)} left"
