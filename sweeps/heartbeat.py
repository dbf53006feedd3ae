"""A driver's heartbeat, from a thread of its own: the main thread may be busy for minutes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from cluster.threads import background

_log = logging.getLogger(__name__)

#: Seconds between two heartbeats, and until a driver without heartbeats counts as dead.
BEAT_SECONDS = 5.0
SILENT_SECONDS = 30.0


@contextmanager
def beating(beat: Callable[[], None]) -> Iterator[None]:
    """Call `beat` every 5 s until the block ends."""
    stopped = threading.Event()
    thread = background("alignery-beat", partial(_beat, beat, stopped))
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _beat(beat: Callable[[], None], stopped: threading.Event) -> None:
    last_success, warned = time.monotonic(), False
    while not stopped.wait(BEAT_SECONDS):
        try:
            beat()
        except Exception as error:  # an error that lasts also reaches the sweep, which reports it
            _log.info("a sign of life could not be given", exc_info=error)
            if (
                not warned
                and time.monotonic() - last_success >= SILENT_SECONDS
                and not stopped.is_set()
            ):
                warned = True
                _log.warning(
                    "there was no sign of life for %g s, so others may take this search for "
                    "interrupted: %s",
                    SILENT_SECONDS,
                    error,
                )
        else:
            last_success, warned = time.monotonic(), False
