"""Whether a listening address can be reached from other machines."""

from __future__ import annotations

import ipaddress

from serve.errors import ServeError


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. ServeError if `host` is not an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ServeError(
            f"host {host}: expected an IP address to listen on, or localhost"
        ) from None
