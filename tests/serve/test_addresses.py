"""Which addresses to listen on are this machine's alone."""

from __future__ import annotations

import pytest

from serve.addresses import listens_on_loopback
from serve.errors import ServeError


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
    ],
)
def test_loopback_is_for_this_machine_alone(host, alone):
    assert listens_on_loopback(host) is alone


@pytest.mark.parametrize("host", ["", "example.com", "127.0.0.1:8000", "LOCALHOST."])
def test_a_name_cannot_be_listened_on(host):
    with pytest.raises(ServeError, match=f"host {host}: expected an IP address"):
        listens_on_loopback(host)
