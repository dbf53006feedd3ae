"""Where a replica listens for the other replicas of its application, and who is let in there.

Ray Serve 2.60 opens a gRPC server in each replica, for calls that `RAY_SERVE_USE_GRPC_BY_DEFAULT`
would send, whether or not it does, on a free port of every network interface. It unpickles what it
is sent, from whoever has the cluster's token or, on a cluster without, from everybody.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from cluster.authentication import OPEN, is_loopback
from cluster.token import MODE
from serve.errors import ServeError


def check_closed() -> None:
    """ServeError if this Ray demands no token and other machines reach its nodes."""
    import ray

    guarded = os.environ.get(MODE, "").strip().lower() == "token"
    if not guarded and not is_loopback(ray.util.get_node_ip_address()):
        raise ServeError(
            f"this Ray {OPEN}; or set the endpoint's argument trust_network to true if only people "
            "who may do that reach it (docs/security.md)"
        )


def listen_on_node_address() -> None:
    """Let this replica's server listen at its node's address alone: on loopback in a local Ray.

    Siblings call it there. To be called from the constructor of each deployment, which Ray runs
    before it opens the port. Private names of Ray 2.60; AttributeError, so that the replica does
    not start, where Ray has them no more.
    """
    import ray

    replica: Any = import_module("ray.serve._private.replica")
    add_port = replica.add_port_to_grpc_server
    host = ray.util.get_node_ip_address()

    def add(server: Any, address: str) -> Any:
        port = address.rpartition(":")[2]
        return add_port(server, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    replica.add_port_to_grpc_server = add
