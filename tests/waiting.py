"""Loops that wait for something and end with a clear failure where it does not come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

#: Seconds that only a hang reaches: the machine that runs a test may be busy with something else.
PATIENCE = 120.0
#: Steps that only an engine reaches that will never be done.
MOST_STEPS = 10_000


def wait_until(condition: Callable[[], Any], expected: str = "", seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`. The failure says what was `expected`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, _missing(expected, f"{seconds:g} s")
        time.sleep(0.02)
    return value


async def await_until(
    condition: Callable[[], Any],
    expected: str = "",
    step: Callable[[], Awaitable[object]] | None = None,
    seconds: float = PATIENCE,
) -> None:
    """`wait_until` on an event loop; `step` is awaited between two checks, in place of a pause."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, _missing(expected, f"{seconds:g} s")
        await (asyncio.sleep(0.002) if step is None else step())


def step_until(
    condition: Callable[[], Any],
    step: Callable[[], object],
    expected: str = "",
    most: int = MOST_STEPS,
) -> None:
    """Take steps until `condition` is true, and no more than `most` of them."""
    for _ in range(most):
        if condition():
            return
        step()
    raise AssertionError(_missing(expected, f"{most} steps"))


def _missing(expected: str, limit: str) -> str:
    return f"after {limit} still not: {expected or 'what this test waits for'}"
