"""Where an endpoint starts, and where not."""

from __future__ import annotations

import pytest

from serve.errors import ServeError
from tests.serve.real_adapters import BASE


@pytest.mark.parametrize(
    ("mode", "host", "trusted", "starts"),
    [
        ("token", "10.0.0.7", False, True),
        ("", "10.0.0.7", False, False),
        ("disabled", "10.0.0.7", False, False),
        ("", "127.0.0.1", False, True),
        ("", "10.0.0.7", True, True),
    ],
)
def test_an_endpoint_starts_on_a_closed_ray_alone(
    mode: str, host: str, trusted: bool, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serve.app import build

    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: host)
    args = {"base": BASE, "trust_network": trusted}
    if starts:
        build(args)
    else:
        with pytest.raises(ServeError, match=r"can run code .*trust_network to true"):
            build(args)
