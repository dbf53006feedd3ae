"""Follows the database, and moves an alias once the engine has loaded its new adapter."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from anyio import to_thread

from cluster.errors import DatabaseError
from serve.batching.jobs import AdapterRef, EngineClient
from serve.catalogue.alias_rollout import AliasRollout, Move
from serve.catalogue.snapshot import Snapshot, SnapshotSource, ref_of

_log = logging.getLogger("ray.serve")

#: Between two reads of the database.
PERIOD_SECONDS = 0.5
#: After this time without a result, a read means that the database is unavailable.
LOOK_SECONDS = 3.0
#: Between two `keep` calls with the same adapters, since replicas may have been replaced.
KEEP_SECONDS = 10.0


class Catalogue:
    """The names of an endpoint on `base`. For one event loop; call `start` before any use.

    While the database is unavailable, the last names read from it stay valid.
    """

    def __init__(self, source: SnapshotSource, base: str, engine: EngineClient) -> None:
        self.base = base
        self._source = source
        self._engine = engine
        self._seen = Snapshot()
        self._now = Snapshot()
        self._moves = AliasRollout(base)
        self._trouble: str | None = None
        self._looking = asyncio.Lock()
        self._begun = 0  # number of reads started
        self._ended = 0  # number of the latest read that has ended
        self._newest: asyncio.Task[None] | None = None  # the latest read
        self._told: tuple[AdapterRef, ...] | None = None
        self._told_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def now(self) -> Snapshot:
        """The names as they are valid on this endpoint now."""
        return self._now

    @property
    def moves(self) -> AliasRollout:
        """The aliases that are about to move, and those that cannot follow the registry."""
        return self._moves

    @property
    def trouble(self) -> str | None:
        """Why the last read of the database failed; None if it succeeded."""
        return self._trouble

    async def start(self) -> None:
        """Read all names and begin to follow them. DatabaseError if they cannot be read."""
        await self._look()  # without a time limit
        if self._trouble is not None:
            raise DatabaseError(self._trouble)
        self._spawn(self._follow())

    async def close(self) -> None:
        """Stop following the database."""
        if self._newest is not None:
            self._newest.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Read the database as of this call, or set `trouble` within `LOOK_SECONDS`."""
        target = self._begun + 1  # the first read that begins after this call
        async with self._looking:
            while self._ended < target:
                if self._newest is None or self._newest.done():
                    self._begun += 1
                    self._newest = asyncio.create_task(self._look_at(self._begun))
                    self._newest.add_done_callback(_log_failure)
                elif self._trouble is not None:
                    return  # the read is overdue: it continues, and is not waited for again
                # The read continues even if the caller is cancelled meanwhile.
                done, _ = await asyncio.wait({self._newest}, timeout=LOOK_SECONDS)
                if not done:
                    self._miss(f"the database has not answered for {LOOK_SECONDS:g} s")
                    return
                self._newest.result()

    async def _look_at(self, number: int) -> None:
        await self._look()
        self._ended = max(self._ended, number)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self.refresh()
                self._tell()
            except Exception:  # the next read may succeed
                _log.exception("the names could not be followed")

    async def _look(self) -> None:
        try:
            self._seen = await to_thread.run_sync(self._source.read, self._seen)
        except DatabaseError as error:
            self._miss(str(error))
            return
        self._trouble = None
        for move in self._moves.see(self._seen.aliases, time.monotonic()):
            self._spawn(self._make(move))
        self._publish()

    def _miss(self, trouble: str) -> None:
        if self._trouble is None:
            _log.warning("names stay as they are while the database is away: %s", trouble)
        self._trouble = trouble

    async def _make(self, move: Move) -> None:
        try:
            refused = await self._engine.prepare(ref_of(move.to))
            reason = None if refused is None else refused.message
        except Exception as error:  # a move that never ends would never be retried
            reason = f"{type(error).__name__}: {error}"
        if reason is None:
            self._moves.prepared(move)
            self._publish()
        else:
            _log.error("%s stays: %s cannot be had: %s", move.alias, move.to.name, reason)
            self._moves.failed(move, reason, time.monotonic())

    def _publish(self) -> None:
        self._now = replace(self._seen, aliases=dict(self._moves.here))

    def _tell(self) -> None:
        """Call the engine's `keep` if the adapters changed or the last call was long ago."""
        keep = self._now.to_keep(self.base)
        if keep != self._told or time.monotonic() > self._told_at + KEEP_SECONDS:
            self._told, self._told_at = keep, time.monotonic()
            self._spawn(self._engine.keep(keep))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_log_failure)


def _log_failure(task: asyncio.Task[None]) -> None:
    """Log the task's error, since possibly nobody awaits it and asyncio would print it later."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("following the names: %s: %s", type(error).__name__, error)
