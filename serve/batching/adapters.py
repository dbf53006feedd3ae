"""Which adapters the engine knows: fetched on demand, those least recently used forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from align.inference.types import Engine
from serve.batching.jobs import AdapterRef
from serve.batching.loop import EngineLoop
from serve.errors import AdapterLate

_log = logging.getLogger("ray.serve")

#: Adapters fetched at a time.
FETCHERS = 4


class AdapterCache:
    """Keeps about `capacity` adapters known to the engine; those in use are never forgotten.

    Nor are those that are to be kept, as long as they leave room for one more.

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
        patience: float,
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._folder_of = folder_of
        self._capacity = capacity
        self._patience = patience
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch")
        self._known: OrderedDict[str, asyncio.Task[None]] = OrderedDict()
        self._uses: Counter[str] = Counter()
        self._kept: frozenset[str] = frozenset()
        self._fetching: asyncio.Task[None] | None = None

    @property
    def known(self) -> int:
        """How many the engine knows, or is about to."""
        return len(self._known)

    async def acquire(self, adapter: AdapterRef | None) -> None:
        """Have it known to the engine until `release`; None, the base, always is.

        AligneryError if it cannot be had, or not within `patience` seconds; then there is nothing
        to release.
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
            async with asyncio.timeout(self._patience):
                await asyncio.shield(self._known[identity])
        except TimeoutError:
            self.release(adapter)
            raise AdapterLate(
                f"{adapter.name} did not come within {self._patience:g} s and is still on its way; "
                "try again soon"
            ) from None
        except BaseException:
            self.release(adapter)
            raise

    def keep(self, adapters: Sequence[AdapterRef]) -> None:
        """Have these known from soon on, in place of those kept before; the first are surest.

        One that cannot be had is tried again by the next call, and by whoever asks for it.
        """
        kept = adapters[: max(0, self._capacity - 1)]
        self._kept = frozenset(one.adapter_id for one in kept)
        self._loop.send(partial(self._engine.keep, self._kept))
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch(kept))

    async def _fetch(self, adapters: Sequence[AdapterRef]) -> None:
        for one in adapters:  # one after the other: requests come first
            if one.adapter_id not in self._known:
                try:
                    await self.acquire(one)
                except Exception as error:
                    _log.warning("%s cannot be loaded ahead: %s", one.name, error)
                else:
                    self.release(one)

    def release(self, adapter: AdapterRef | None) -> None:
        """One use less."""
        if adapter is not None:
            self._uses[adapter.adapter_id] -= 1

    async def _load(self, adapter: AdapterRef) -> None:
        identity = adapter.adapter_id
        try:
            running = asyncio.get_running_loop()
            folder = await running.run_in_executor(self._fetchers, self._folder_of, adapter)
            for one in self._spare():  # no waiting between: another load would take the same
                del self._known[one]
                self._loop.send(partial(self._engine.unload, one))
            await self._loop.call(partial(self._engine.load, identity, folder))
        except BaseException:
            del self._known[identity]
            raise

    def _spare(self) -> list[str]:
        """What to forget, least recently used first."""
        excess = max(0, len(self._known) - self._capacity)
        idle = [one for one, load in self._known.items() if not self._uses[one] and load.done()]
        return [one for one in idle if one not in self._kept][:excess]
