"""Which engine replica a request goes to: one that has its adapter, unless that has enough to do.

Replicas are ranked for each adapter by rendezvous hashing, so that all ingress replicas agree with
nothing to tell each other, and one that comes or goes moves few adapters. A replica whose load is
beyond the bound gives way to the next (consistent hashing with bounded loads, Mirrokni, Thorup and
Zadimoghaddam, 2018). Requests for the base go wherever there is least to do.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

#: A replica's load may be so many times the mean of all …
BALANCE = 1.25
#: … and so many requests in any case: few share a batch for nothing.
EASY = 8


def ranked(adapter: str | None, loads: Mapping[str, int]) -> list[str]:
    """Replicas by id, best first; `loads` has the unfinished requests of each."""
    least = sorted(loads, key=lambda one: (loads[one], _weight("", one)))
    if adapter is None:
        return least
    bound = max(EASY, math.ceil(BALANCE * (sum(loads.values()) + 1) / max(1, len(loads))))
    favourites = sorted(loads, key=lambda one: _weight(adapter, one))
    within = [one for one in favourites if loads[one] < bound]
    return within + [one for one in least if loads[one] >= bound]


def _weight(adapter: str, replica: str) -> bytes:
    return hashlib.blake2b(f"{adapter} {replica}".encode(), digest_size=8).digest()


class AdapterRouter(RequestRouter):
    """Ray Serve's router for engines; a request's first argument may have an `adapter`."""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """One replica a rank, best first."""
        if pending_request is not None:  # else Ray asks again and again without a pause
            pending_request.routing_context.should_backoff = True
        by_id = {one.replica_id.unique_id: one for one in candidate_replicas}
        cache = self.replica_queue_len_cache
        # A replica that was not asked lately has nothing to do as far as this process knows.
        loads = {name: cache.get(one.replica_id) or 0 for name, one in by_id.items()}
        arguments = pending_request.args if pending_request is not None else ()
        adapter = getattr(arguments[0], "adapter", None) if arguments else None
        order = ranked(None if adapter is None else adapter.adapter_id, loads)
        return [[by_id[name]] for name in order]
