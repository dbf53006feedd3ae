"""Which adapters an engine holds: loaded on demand, the least recently used one given up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from align.errors import AligneryError
from align.inference.types import Engine
from serve.batching.jobs import AdapterRef


class AdapterCache:
    """At most `capacity` adapters in `engine`. `folder_of` fetches and verifies their files."""

    def __init__(
        self, engine: Engine, folder_of: Callable[[AdapterRef], Path], capacity: int
    ) -> None:
        self._engine = engine
        self._folder_of = folder_of
        self._capacity = capacity
        self._used: OrderedDict[str, None] = OrderedDict()

    def require(self, adapters: Iterable[AdapterRef]) -> dict[str, AligneryError]:
        """Have all of these (at most `capacity`) loaded at once; returns failures by id."""
        wanted = {one.adapter_id: one for one in adapters}
        for identity in wanted:
            if identity in self._used:
                self._used.move_to_end(identity)
        failed: dict[str, AligneryError] = {}
        for identity, adapter in wanted.items():
            if identity not in self._used:
                try:
                    self._load(adapter, keep=wanted.keys())
                except AligneryError as error:
                    failed[identity] = error
        return failed

    def _load(self, adapter: AdapterRef, keep: Iterable[str]) -> None:
        folder = self._folder_of(adapter)
        while len(self._used) >= self._capacity:
            oldest = next(one for one in self._used if one not in keep)
            self._engine.unload(oldest)
            del self._used[oldest]
        self._engine.load(adapter.adapter_id, folder)
        self._used[adapter.adapter_id] = None
