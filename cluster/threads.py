"""Threads beside the main one: what goes wrong in one is logged, and is no traceback for a user.

A traceback on stderr would come before, or within, the one line that says what to do.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


def background(name: str, target: Callable[[], None]) -> threading.Thread:
    """Start `target` on a thread that ends with the process. What it raises is logged.

    A target that others depend on catches what it can expect, and says what that means.
    """

    def run() -> None:
        try:
            target()
        except Exception as error:
            if not sys.is_finalizing():
                _log.error("thread %s has ended: %s: %s", name, type(error).__name__, error)
                _log.debug("thread %s", name, exc_info=error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def log_uncaught(args: threading.ExceptHookArgs) -> None:
    """A `threading.excepthook` for libraries' threads: they mostly die of what the main one meets.

    Logged as information, with the traceback.
    """
    if args.exc_type is SystemExit or args.exc_value is None or sys.is_finalizing():
        return
    name = "a thread" if args.thread is None else args.thread.name
    _log.info("%s has ended", name, exc_info=args.exc_value)
