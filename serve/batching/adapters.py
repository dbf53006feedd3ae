"""The adapters that the engine has loaded: fetched on demand, evicted by least recent use."""

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
    """Keeps about `capacity` adapters loaded in the engine, of about `most_bytes` in all.

    Loaded adapters are in the memory of the host; the sizes of their files stand for theirs.
    Adapters in use are never evicted. Nor are those passed to `keep`, of which at most
    `capacity` − 1 are retained.

    `folder_of` fetches and verifies an adapter's files. It may take seconds, so it runs on separate
    threads, where it blocks neither the engine nor the event loop. Methods are for one event loop.
    """

    def __init__(
        self,
        engine: Engine,
        loop: EngineLoop,
        folder_of: Callable[[AdapterRef], Path],
        capacity: int,
        most_bytes: int,
        patience: float,
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._folder_of = folder_of
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._sizes: dict[str, int] = {}  # bytes of the files of known adapters
        self._patience = patience
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch")
        self._known: OrderedDict[str, asyncio.Task[None]] = OrderedDict()
        self._uses: Counter[str] = Counter()
        self._kept: frozenset[str] = frozenset()
        self._fetching: asyncio.Task[None] | None = None

    @property
    def known(self) -> int:
        """The number of adapters that are loaded or being loaded."""
        return len(self._known)

    async def acquire(self, adapter: AdapterRef | None) -> None:
        """Load the adapter and hold it until `release`. None, the base, needs no loading.

        AligneryError if the adapter cannot be loaded, or not within `patience` seconds; it must not
        be released then.
        """
        if adapter is None:
            return
        identity = adapter.adapter_id
        if identity not in self._known:
            self._known[identity] = asyncio.create_task(self._load(adapter))
        self._known.move_to_end(identity)
        self._uses[identity] += 1
        try:
            # Several requests may wait for this load, so a cancelled request must not cancel it.
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
        """Load these adapters soon and retain them, in place of those of the previous call.

        The first `capacity` − 1 are retained. If a load fails, the next call retries it, and so
        does every request for the adapter.
        """
        retained = adapters[: max(0, self._capacity - 1)]
        self._kept = frozenset(adapter.adapter_id for adapter in retained)
        self._loop.send(partial(self._engine.keep, self._kept))
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch(retained))

    async def _fetch(self, adapters: Sequence[AdapterRef]) -> None:
        for adapter in adapters:  # sequentially, so that requests have priority
            if adapter.adapter_id not in self._known:
                try:
                    await self.acquire(adapter)
                except Exception as error:
                    _log.warning("%s cannot be loaded ahead: %s", adapter.name, error)
                else:
                    self.release(adapter)

    def release(self, adapter: AdapterRef | None) -> None:
        """End a use of the adapter that `acquire` began."""
        if adapter is not None:
            self._uses[adapter.adapter_id] -= 1

    async def _load(self, adapter: AdapterRef) -> None:
        identity = adapter.adapter_id
        try:
            event_loop = asyncio.get_running_loop()
            folder = await event_loop.run_in_executor(self._fetchers, self._folder_of, adapter)
            self._sizes[identity] = _bytes_of(folder)
            for evicted in self._spare():  # no await here: another load would evict the same ones
                del self._known[evicted], self._sizes[evicted]
                self._loop.send(partial(self._engine.unload, evicted))
            await self._loop.call(partial(self._engine.load, identity, folder))
        except BaseException:
            del self._known[identity]
            self._sizes.pop(identity, None)
            raise

    def _spare(self) -> list[str]:
        """The ids of adapters to evict, least recently used first."""
        count, size = len(self._known), sum(self._sizes.values())
        idle = [
            identity
            for identity, load in self._known.items()
            if not self._uses[identity] and load.done()
        ]
        evicted: list[str] = []
        for identity in idle:
            if count <= self._capacity and size <= self._most_bytes:
                break
            if identity not in self._kept:
                evicted.append(identity)
                count, size = count - 1, size - self._sizes[identity]
        return evicted


def _bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
