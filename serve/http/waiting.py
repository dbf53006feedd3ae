"""Work that blocks on the database, and is not waited for when it hangs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from anyio import fail_after, to_thread

from cluster.errors import DatabaseError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: A request waits no longer for the database.
PATIENCE_SECONDS = 3.0


async def soon(work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """What it returns. DatabaseError if that takes too long: then it goes on in its thread."""
    try:
        with fail_after(PATIENCE_SECONDS):
            return await to_thread.run_sync(work, *arguments, abandon_on_cancel=True)
    except TimeoutError:
        raise DatabaseError(f"the database has not answered for {PATIENCE_SECONDS:g} s") from None
