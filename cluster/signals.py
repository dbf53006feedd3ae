"""Handling SIGINT, SIGTERM and SIGHUP: ending a block by a signal, deferring signals to its end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: Ctrl-C, `kill`, and the end of the terminal.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def in_main_thread() -> bool:
    """Whether this is the main thread; only there may a program set signal handlers."""
    return threading.current_thread() is threading.main_thread()


def sigterm_handler() -> Any:
    """What SIGTERM does in this program now; None outside the main thread."""
    return signal.getsignal(signal.SIGTERM) if in_main_thread() else None


class _Ending:
    """A handler that ends the program's blocks by SystemExit, and the signals that it received."""

    def __init__(self) -> None:
        self.received: list[int] = []

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)
        raise SystemExit(128 + number)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End the block, so that it cleans up, by SIGTERM and SIGHUP (SystemExit) and by SIGINT.

    SIGINT raises KeyboardInterrupt even if this process was started with SIGINT ignored: a shell
    without job control, as in a script, ignores it for what it starts in the background, and Python
    then installs no handler. Handlers that are set stay, and so does a SIGHUP that `nohup` ignores.
    """
    if not in_main_thread():
        yield
        return
    before = _handlers()
    outer = before.get(signal.SIGTERM)
    ending = outer if isinstance(outer, _Ending) else _Ending()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if before.get(signum) == signal.SIG_DFL:
            signal.signal(signum, ending)
    if before.get(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except SystemExit:
        if ending.received:  # Ray, waiting in C++, raises it with another code
            raise SystemExit(128 + ending.received[0]) from None
        raise
    finally:
        _restore(before)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer the signals that end to the block's end: an interrupted clean-up leaves processes."""
    if not in_main_thread():
        yield
        return
    received: list[int] = []
    before = {
        signum: handler for signum, handler in _handlers().items() if handler != signal.SIG_IGN
    }
    for signum in before:
        signal.signal(signum, lambda number, _frame: received.append(number))
    try:
        yield
    finally:
        _restore(before)
        if received:
            signal.raise_signal(received[0])


def _handlers() -> dict[signal.Signals, Any]:
    """The handlers of the signals that end, without those that Python could not set again."""
    handlers = {signum: signal.getsignal(signum) for signum in _ENDING}
    return {signum: handler for signum, handler in handlers.items() if handler is not None}


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
