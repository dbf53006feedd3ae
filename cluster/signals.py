"""Handling SIGINT and SIGTERM: ending a block by a signal, and deferring signals to its end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


def in_main_thread() -> bool:
    """Whether this is the main thread; only there may a program set signal handlers."""
    return threading.current_thread() is threading.main_thread()


def sigterm_handler() -> Any:
    """What SIGTERM does in this program now; None outside the main thread."""
    return signal.getsignal(signal.SIGTERM) if in_main_thread() else None


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that the block cleans up, unless a handler is set."""
    before = sigterm_handler()
    received: list[int] = []

    def leave(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise SystemExit(128 + number)

    if before == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except SystemExit:
        if received:  # Ray, waiting in C++, raises it with another code
            raise SystemExit(128 + received[0]) from None
        raise
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer SIGINT and SIGTERM to the block's end: an interrupted clean-up leaves processes."""
    if not in_main_thread():
        yield
        return
    received: list[int] = []
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    for signum in before:
        signal.signal(signum, lambda number, _frame: received.append(number))
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        if received:
            signal.raise_signal(received[0])
