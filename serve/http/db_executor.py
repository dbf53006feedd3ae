"""Work that blocks on the database, and is not waited for when it hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar, TypeVarTuple

from cluster.errors import DatabaseError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: A request waits no longer for the database.
PATIENCE_SECONDS = 3.0

# Few, and of its own: what hangs keeps its thread, and what waits behind it is dropped in time.
_threads = ThreadPoolExecutor(8, thread_name_prefix="database")


async def soon(work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """What it returns. DatabaseError if that takes too long: what has begun goes on by itself."""
    begun = asyncio.get_running_loop().run_in_executor(_threads, partial(work, *arguments))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await begun
    except TimeoutError:
        raise DatabaseError(f"the database has not answered for {PATIENCE_SECONDS:g} s") from None
