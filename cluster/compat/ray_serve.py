"""Private names of Ray Serve 2.60: the address of the gRPC server of each replica.

Ray Serve opens the server on a free port of every network interface, and has no option for its
address. No public request is known; what is wanted is that the port listens on the node's address.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def listen_on_node_address() -> None:
    """Make this replica's server listen only on its node's address (loopback in a local Ray).

    Other replicas call it at that address. Call this from the constructor of each deployment, which
    Ray runs before it opens the port. AttributeError, so that the replica does not start, if Ray no
    longer has the function that is replaced.
    """
    import ray

    replica: Any = import_module("ray.serve._private.replica")
    add_port = replica.add_port_to_grpc_server
    host = ray.util.get_node_ip_address()

    def add(server: Any, address: str) -> Any:
        port = address.rpartition(":")[2]
        return add_port(server, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    replica.add_port_to_grpc_server = add
