"""Who reaches an address that is listened on."""

from __future__ import annotations

import ipaddress

from serve.errors import ServeError


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address. ServeError if it is none."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ServeError(
            f"host {host}: expected an IP address to listen on, or localhost"
        ) from None
