"""Who can reach the gRPC server that Ray Serve opens in each replica.

Ray Serve 2.60 opens a gRPC server in each replica, on a free port of every network interface. It is
for calls between replicas, and is opened even if `RAY_SERVE_USE_GRPC_BY_DEFAULT` does not send
them this way. The server unpickles what it receives: from everybody who has the cluster's token or,
on a cluster without a token, from everybody.
"""

from __future__ import annotations

import os

from cluster.authentication import OPEN
from cluster.local_calls import is_loopback
from cluster.token import MODE
from serve.errors import ServeError


def check_closed() -> None:
    """ServeError if this Ray requires no token and other machines can reach its nodes."""
    import ray

    guarded = os.environ.get(MODE, "").strip().lower() == "token"
    if not guarded and not is_loopback(ray.util.get_node_ip_address()):
        raise ServeError(
            f"this Ray {OPEN}; or set the endpoint's argument trust_network to true if only people "
            "who may do that reach it (docs/security.md)"
        )
