"""A driver's signs of life, from a thread of their own: the main one may be busy for minutes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from cluster.threads import background

_log = logging.getLogger(__name__)

#: Seconds between two signs of life, and until a driver without one is given up.
BEAT_SECONDS = 5.0
SILENT_SECONDS = 30.0


@contextmanager
def beating(beat: Callable[[], None]) -> Iterator[None]:
    """Call `beat` every 5 s. When the block has ended it is not called any more."""
    over = threading.Event()
    thread = background("alignery-beat", partial(_beat, beat, over))
    try:
        yield
    finally:
        over.set()
        thread.join()


def _beat(beat: Callable[[], None], over: threading.Event) -> None:
    heard, told = time.monotonic(), False
    while not over.wait(BEAT_SECONDS):
        try:
            beat()
        except Exception as error:  # the sweep itself may meet it, too, and says so
            _log.info("a sign of life could not be given", exc_info=error)
            if not told and time.monotonic() - heard >= SILENT_SECONDS and not over.is_set():
                told = True
                _log.warning(
                    "there was no sign of life for %g s, so others may take this search for "
                    "interrupted: %s",
                    SILENT_SECONDS,
                    error,
                )
        else:
            heard, told = time.monotonic(), False
