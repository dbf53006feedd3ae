"""Blocking database calls on separate threads, with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar, TypeVarTuple

from cluster.errors import DatabaseError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: The longest time that a request waits for the database.
PATIENCE_SECONDS = 3.0

# A small separate pool: a call that hangs keeps its thread, and calls that wait for a thread time
# out.
_threads = ThreadPoolExecutor(8, thread_name_prefix="database")


async def soon(work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """The result of `work`. DatabaseError after `PATIENCE_SECONDS`; a running call continues."""
    future = asyncio.get_running_loop().run_in_executor(_threads, partial(work, *arguments))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await future
    except TimeoutError:
        raise DatabaseError(f"the database has not answered for {PATIENCE_SECONDS:g} s") from None
