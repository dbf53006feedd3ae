"""The address of the gRPC server that Ray Serve opens in each replica, and who can reach it.

Ray Serve 2.60 opens a gRPC server in each replica, on a free port of every network interface. It is
for calls between replicas, and is opened even if `RAY_SERVE_USE_GRPC_BY_DEFAULT` does not send
them this way. The server unpickles what it receives: from everybody who has the cluster's token or,
on a cluster without a token, from everybody.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from cluster.authentication import OPEN, is_loopback
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


def listen_on_node_address() -> None:
    """Make this replica's server listen only on its node's address (loopback in a local Ray).

    Other replicas call it at that address. Call this from the constructor of each deployment, which
    Ray runs before it opens the port. Uses private names of Ray 2.60: AttributeError, so that the
    replica does not start, if Ray no longer has them.
    """
    import ray

    replica: Any = import_module("ray.serve._private.replica")
    add_port = replica.add_port_to_grpc_server
    host = ray.util.get_node_ip_address()

    def add(server: Any, address: str) -> Any:
        port = address.rpartition(":")[2]
        return add_port(server, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    replica.add_port_to_grpc_server = add
