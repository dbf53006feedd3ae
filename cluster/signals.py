"""Signals that end a block, and those that wait until one is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


def in_main_thread() -> bool:
    """Only there may a program set signal handlers."""
    return threading.current_thread() is threading.main_thread()


def sigterm_handler() -> Any:
    """What SIGTERM does in this program now; None outside the main thread."""
    return signal.getsignal(signal.SIGTERM) if in_main_thread() else None


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that the block cleans up, unless somebody handles it."""
    before = sigterm_handler()
    came: list[int] = []

    def leave(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise SystemExit(128 + number)

    if before == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except SystemExit:
        if came:  # from where Ray waits in C++, it comes with another code
            raise SystemExit(128 + came[0]) from None
        raise
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the block is done: half a clean-up leaves processes."""
    if not in_main_thread():
        yield
        return
    came: list[int] = []
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    for one in before:
        signal.signal(one, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        if came:
            signal.raise_signal(came[0])
