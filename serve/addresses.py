"""Whether a listening address can be reached from other machines."""

from __future__ import annotations

import ipaddress

from cluster.local_calls import is_loopback
from serve.errors import ServeError


def listens_on_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`.

    ServeError if `host` is neither an IP address nor localhost, and so cannot be listened on.
    """
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ServeError(
                f"host {host}: expected an IP address to listen on, or localhost"
            ) from None
    return is_loopback(host)
