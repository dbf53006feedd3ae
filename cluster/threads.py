"""Background threads: their errors are logged, and not printed to the user as a traceback.

A traceback on stderr would come before, or within, the line that says what to do.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


def background(name: str, target: Callable[[], None]) -> threading.Thread:
    """Start `target` on a thread that ends with the process. Exceptions that it raises are logged.

    A target that other code depends on must catch expected errors itself, and report them.
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
    """A `threading.excepthook` for libraries' threads: logs the error with its traceback, as INFO.

    Such a thread mostly ends by an error that the main thread gets and reports, too.
    """
    if args.exc_type is SystemExit or args.exc_value is None or sys.is_finalizing():
        return
    name = "a thread" if args.thread is None else args.thread.name
    _log.info("%s has ended", name, exc_info=args.exc_value)
