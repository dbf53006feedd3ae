"""Who can reach what Ray Serve opens in each replica."""

from __future__ import annotations

import pytest

from serve.errors import ServeError
from serve.replica_port import check_closed


@pytest.mark.parametrize(
    ("mode", "host", "closed"),
    [
        ("token", "10.0.0.7", True),
        (" Token ", "10.0.0.7", True),
        ("", "127.0.0.1", True),
        ("", "10.0.0.7", False),
        ("disabled", "10.0.0.7", False),
        (None, "10.0.0.7", False),
    ],
)
def test_a_token_or_this_machine_alone(mode, host, closed, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: host)
    if closed:
        check_closed()
    else:
        with pytest.raises(ServeError, match=r"trust_network to true.*docs/security\.md"):
            check_closed()
