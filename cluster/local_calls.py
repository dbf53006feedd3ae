"""HTTP calls that stay on this machine: they go past the proxies that the environment names.

A proxy does not reach this machine's loopback, and what is sent to it, API keys and tokens
included, would leave the machine. Calls to other machines use the environment's proxies as ever.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

#: Variables that list hosts without a proxy. gRPC reads its own before the common ones.
_COMMON, _GRPC = ("no_proxy", "NO_PROXY"), "no_grpc_proxy"


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or a name, is reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local(host: str) -> bool:
    """Whether `host`, an address or a name, is this machine. Asks no name server."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified or str(address) in _own_addresses()


def open_url(url: str | urllib.request.Request, timeout: float) -> Any:
    """The answer of urllib's `urlopen`, without a proxy if the URL's host is this machine.

    `timeout`: seconds. Raises what `urlopen` raises.
    """
    target = url if isinstance(url, str) else url.full_url
    local = is_local(urlsplit(target).hostname or "")
    # Not `urlopen`, which keeps the proxies that the environment named at its first call.
    proxies = urllib.request.ProxyHandler({} if local else None)
    return urllib.request.build_opener(proxies).open(url, timeout=timeout)


@contextmanager
def past_proxies(host: str) -> Iterator[None]:
    """Within the block, libraries and new processes reach `host` without a proxy if it is local.

    For libraries that only the environment tells of proxies. It is the whole process's, so
    other threads see the change, too.
    """
    changed = {name: os.environ.get(name) for name in (*_COMMON, _GRPC)}
    if is_local(host):
        os.environ.update(_with_host(host.strip("[]"), changed))
    try:
        yield
    finally:
        for name, value in changed.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def needs_proxy_off(url: str) -> bool:
    """Whether a program that follows the environment would call this machine's `url` by a proxy."""
    parts = urlsplit(url)
    proxies, host = urllib.request.getproxies(), parts.hostname or ""
    named = parts.scheme in proxies or "all" in proxies
    return named and is_local(host) and not urllib.request.proxy_bypass(host)


def _with_host(host: str, values: dict[str, str | None]) -> dict[str, str]:
    """Variables that name `host` beside what they named before; `*` names every host already."""
    common = values["no_proxy"] or values["NO_PROXY"] or ""
    lists = dict.fromkeys(_COMMON, common)
    if values[_GRPC] is not None:
        lists[_GRPC] = str(values[_GRPC])
    return {
        name: listed if listed.strip() == "*" else ",".join(filter(None, (listed, host)))
        for name, listed in lists.items()
    }


def _own_addresses() -> set[str]:
    """The IP addresses of this machine's network interfaces, without zones."""
    return {
        address.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    }
