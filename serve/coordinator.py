"""What is counted for all replicas, in a process that imports little, so that it starts soon."""

from __future__ import annotations

from ray import serve

from serve.access.key import Key
from serve.access.limits import Counter
from serve.metrics.aggregator import Board
from serve.metrics.snapshots import Report
from serve.replica_port import listen_on_node_address

#: Ray Serve's own default, 5, is for deployments that compute.
MAX_ONGOING = 2000


@serve.deployment(max_ongoing_requests=MAX_ONGOING, ray_actor_options={"num_cpus": 0})
class Tally:
    """The one `Counter` and the one `Board` of all replicas."""

    def __init__(self) -> None:
        listen_on_node_address()
        self._counter, self._board = Counter(), Board()

    async def admit(self, key: Key) -> float:
        """See `Limits`."""
        return await self._counter.admit(key)

    async def spend(self, key: Key, tokens: int) -> None:
        """See `Limits`."""
        await self._counter.spend(key, tokens)

    async def report(self, process: str, counted: Report) -> None:
        """See `Metrics`."""
        await self._board.report(process, counted)

    async def total(self) -> Report:
        """See `Metrics`."""
        return await self._board.total()
