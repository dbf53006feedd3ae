"""Routing of requests to engine replicas that have the adapter, unless those are busy.

Replicas are ranked for each adapter by rendezvous hashing: all ingress replicas agree without
communicating, and a replica that is added or removed moves few adapters. A replica whose load
exceeds the bound is ranked behind the next ones (consistent hashing with bounded loads, Mirrokni,
Thorup and Zadimoghaddam, 2018). Requests for the base go to the replica with the least load.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

#: The bound on a replica's load: this many times the mean load of all replicas …
BALANCE = 1.25
#: … but at least this many requests, since a few requests share a batch at no extra cost.
EASY = 8


def ranked(adapter: str | None, loads: Mapping[str, int]) -> list[str]:
    """Replica ids, best first. `loads` is the number of unfinished requests of each replica."""
    by_load = sorted(loads, key=lambda replica: (loads[replica], _weight("", replica)))
    if adapter is None:
        return by_load
    bound = max(EASY, math.ceil(BALANCE * (sum(loads.values()) + 1) / max(1, len(loads))))
    by_hash = sorted(loads, key=lambda replica: _weight(adapter, replica))
    within_bound = [replica for replica in by_hash if loads[replica] < bound]
    return within_bound + [replica for replica in by_load if loads[replica] >= bound]


def _weight(adapter: str, replica: str) -> bytes:
    return hashlib.blake2b(f"{adapter} {replica}".encode(), digest_size=8).digest()


class AdapterRouter(RequestRouter):
    """Ray Serve's router for engines; a request's first argument may have an `adapter`."""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Ranks of a single replica each, best first."""
        if pending_request is not None:  # otherwise Ray retries without a pause
            pending_request.routing_context.should_backoff = True
        by_id = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        cache = self.replica_queue_len_cache
        # A replica without a recent entry in the cache counts as idle.
        loads = {name: cache.get(replica.replica_id) or 0 for name, replica in by_id.items()}
        arguments = pending_request.args if pending_request is not None else ()
        adapter = getattr(arguments[0], "adapter", None) if arguments else None
        ranking = ranked(None if adapter is None else adapter.adapter_id, loads)
        return [[by_id[name]] for name in ranking]
