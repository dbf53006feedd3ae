"""Which adapters the engine knows: fetched on demand, those least recently used forgotten."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from align.inference.types import Engine
from serve.batching.jobs import AdapterRef
from serve.batching.loop import EngineLoop

#: Adapters fetched at a time.
FETCHERS = 4


class AdapterCache:
    """Keeps about `capacity` adapters known to the engine; those in use are never forgotten.

    `folder_of` fetches and verifies an adapter's files. It may take seconds, so it has threads of
    its own, where it holds up neither the engine nor the event loop. Methods are for one event
    loop.
    """

    def __init__(
        self,
        engine: Engine,
        loop: EngineLoop,
        folder_of: Callable[[AdapterRef], Path],
        capacity: int,
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._folder_of = folder_of
        self._capacity = capacity
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch")
        self._known: OrderedDict[str, asyncio.Task[None]] = OrderedDict()
        self._uses: Counter[str] = Counter()

    async def acquire(self, adapter: AdapterRef | None) -> None:
        """Have it known to the engine until `release`; None, the base, always is.

        AligneryError if it cannot be had; then there is nothing to release.
        """
        if adapter is None:
            return
        identity = adapter.adapter_id
        if identity not in self._known:
            self._known[identity] = asyncio.create_task(self._load(adapter))
        self._known.move_to_end(identity)
        self._uses[identity] += 1
        try:
            # Others may wait for the same, so one that hangs up must not end it.
            await asyncio.shield(self._known[identity])
        except BaseException:
            self.release(adapter)
            raise

    def release(self, adapter: AdapterRef | None) -> None:
        """One use less."""
        if adapter is not None:
            self._uses[adapter.adapter_id] -= 1

    async def _load(self, adapter: AdapterRef) -> None:
        identity = adapter.adapter_id
        try:
            running = asyncio.get_running_loop()
            folder = await running.run_in_executor(self._fetchers, self._folder_of, adapter)
            for one in self._spare():
                del self._known[one]
                await self._loop.call(partial(self._engine.unload, one))
            await self._loop.call(partial(self._engine.load, identity, folder))
        except BaseException:
            del self._known[identity]
            raise

    def _spare(self) -> list[str]:
        """What to forget, least recently used first."""
        excess = max(0, len(self._known) - self._capacity)
        idle = [one for one, load in self._known.items() if not self._uses[one] and load.done()]
        return idle[:excess]
