"""What is replaced in Ray Serve, and that the installed version still has it."""

from __future__ import annotations

import inspect

import pytest
import ray
from ray.serve._private import replica

from cluster.compat.ray_serve import listen_on_node_address


def test_a_replica_opens_its_port_by_the_function_that_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = inspect.getsource(replica)
    assert 'add_port_to_grpc_server(self._server, "[::]:0")' in source
    opened = []
    monkeypatch.setattr(
        replica, "add_port_to_grpc_server", lambda server, address: opened.append(address)
    )
    for host in ("10.0.0.7", "fd00::7"):
        monkeypatch.setattr(ray.util, "get_node_ip_address", lambda host=host: host)
        with monkeypatch.context() as patch:
            patch.setattr(replica, "add_port_to_grpc_server", replica.add_port_to_grpc_server)
            listen_on_node_address()
            replica.add_port_to_grpc_server("server", "[::]:0")
    assert opened == ["10.0.0.7:0", "[fd00::7]:0"]
