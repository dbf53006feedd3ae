"""The deployment that counts for all replicas. It imports little, so that it starts quickly."""

from __future__ import annotations

from ray import serve

from cluster.compat.ray_serve import listen_on_node_address
from serve.access.key import Key
from serve.access.limits import Counter
from serve.metrics.aggregator import MetricsAggregator
from serve.metrics.snapshots import MetricsSnapshot

#: Ray Serve's own default, 5, is meant for deployments that compute.
MAX_ONGOING = 2000


# Serve configs that users have generated call this deployment "Tally".
@serve.deployment(name="Tally", max_ongoing_requests=MAX_ONGOING, ray_actor_options={"num_cpus": 0})
class Coordinator:
    """Holds the `Counter` and the `MetricsAggregator` that all replicas share."""

    def __init__(self) -> None:
        listen_on_node_address()
        self._counter, self._board = Counter(), MetricsAggregator()

    async def admit(self, key: Key) -> float:
        """See `RateLimits`."""
        return await self._counter.admit(key)

    async def spend(self, key: Key, tokens: int) -> None:
        """See `RateLimits`."""
        await self._counter.spend(key, tokens)

    async def report(self, process: str, counted: MetricsSnapshot) -> None:
        """See `Metrics`."""
        await self._board.report(process, counted)

    async def total(self) -> MetricsSnapshot:
        """See `Metrics`."""
        return await self._board.total()
