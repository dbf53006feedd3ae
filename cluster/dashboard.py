"""Access to a cluster from outside by Ray's dashboard: its address, checks, and errors."""

from __future__ import annotations

import logging
import os
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import typer

from align.errors import AligneryError
from cluster.authentication import check_closed, check_dashboard_token, lacks_token, warn_open
from cluster.errors import ClusterError, SettingsError
from cluster.local_calls import open_url, past_proxies
from cluster.settings import Settings

Client = TypeVar("Client")

#: Option of commands that query a cluster; `dashboard_address` resolves its value.
AddressOption = Annotated[
    str | None,
    typer.Option(
        help="Where the cluster's Ray takes jobs: http://head:8265. Default: ALIGNERY_JOBS_ADDRESS."
    ),
]

#: Option of commands that send code to a cluster.
TrustNetworkOption = Annotated[
    bool,
    typer.Option(
        "--trust-network",
        help="Send it although the cluster demands no token and other machines reach it: whoever "
        "does can run code there.",
    ),
]

CONNECT_SECONDS = 5
#: Variables that Ray prefers to the address that it is given.
_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
#: Loggers that report every upload and every closed connection.
_TALKATIVE = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")


def dashboard_address(settings: Settings, given: str | None) -> str:
    """The dashboard's address: `given`, or that of the settings. SettingsError without either."""
    # `Settings` validates the address.
    address = Settings(jobs_address=given).jobs_address if given else settings.jobs_address
    if address is None:
        raise SettingsError(
            "which cluster? set ALIGNERY_JOBS_ADDRESS or --address to http://head:8265; on "
            "Kubernetes, `kubectl port-forward service/<cluster>-head-svc 8265` and "
            "http://127.0.0.1:8265"
        )
    return address


@contextmanager
def connected(address: str, connect: Callable[[str], Client]) -> Iterator[Client]:
    """A client of Ray's for the dashboard at `address`. Its errors become ClusterError."""
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    check_cluster(address)
    try:
        with past_proxies(urlsplit(address).hostname or ""):
            with _without(_OVERRIDES):
                client = connect(address)
            yield client
    except AligneryError:
        raise  # raised by the block
    except AuthenticationError as error:
        raise ClusterError(f"{address} {lacks_token(os.environ)} ({_line(error)})") from None
    except (requests.RequestException, aiohttp.ClientError, OSError) as error:
        raise ClusterError(_unreachable(address, error)) from None
    except RuntimeError as error:
        raise ClusterError(f"Ray at {address}: {_line(error)}") from None


def check_cluster(address: str, trust_network: bool = True) -> None:
    """ClusterError unless the cluster at `address` answers and accepts this machine's token.

    A cluster that demands no token gives a warning, and ClusterError if other machines reach it,
    unless `trust_network` is set.
    """
    try:
        _check_reachable(address)
        if not check_dashboard_token(address):
            check_closed(address, trust_network)
            warn_open(address)
    except (OSError, HTTPException) as error:
        raise ClusterError(_unreachable(address, error)) from None


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    removed = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(removed)


def _check_reachable(address: str) -> None:
    """ClusterError if nothing answers; Ray's client itself has no time limit."""
    try:
        open_url(f"{address}/api/version", timeout=CONNECT_SECONDS).close()
    except urllib.error.HTTPError:
        return  # a server answers; Ray's client reports what is wrong
    except (OSError, ValueError, HTTPException) as error:
        raise ClusterError(_unreachable(address, error)) from None


def _unreachable(address: str, error: Exception) -> str:
    return (
        f"no Ray takes jobs at {address}: {_line(error)}; check --address or ALIGNERY_JOBS_ADDRESS "
        "(http://head:8265; on Kubernetes, `kubectl port-forward service/<cluster>-head-svc 8265`)"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
