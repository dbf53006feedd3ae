"""Checks of whether a Ray cluster demands a token (by calls without a token), and which token."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import lru_cache
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from cluster.errors import ClusterError
from cluster.local_calls import is_local, is_loopback, open_url
from cluster.token import HOW_TO_SET, MODE, Token, own_token

#: A head whose CPUs are all busy answers late.
ANSWER_SECONDS = 30
#: Calls without side effects: of the GCS, and of the server behind `ray://`.
_GCS_CALL = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_CLIENT_CALL = "/ray.rpc.RayletDriver/ClusterInfo"

OPEN = (
    "asks nobody for a token: whoever reaches its ports can run code on its machines and read all "
    "that they can. Start Ray there with RAY_AUTH_MODE=token and a RAY_AUTH_TOKEN"
)


def check_token(address: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the Ray at `address`, host:port or ray://host:port, demands a token.

    ClusterError if it does and this machine has no token or another token.
    """
    token = own_token(environment)
    if not _refuses(address, None):
        return False
    if token is None:
        raise ClusterError(f"the Ray at {address} {lacks_token(environment)}")
    if _refuses(address, token):
        raise ClusterError(f"the Ray at {address} {other_token(token)}")
    return True


def lacks_token(environment: Mapping[str, str]) -> str:
    """The message for a cluster that demands a token where this machine sends none."""
    if environment.get(MODE, "").strip().lower() == "disabled":
        return f"wants a token, and {MODE}=disabled here sends none: {HOW_TO_SET}"
    return f"wants a token: {HOW_TO_SET}"


def other_token(token: Token) -> str:
    """The message for a cluster that has another token than this machine."""
    return f"does not accept the token of {token.source}, it has another one: {HOW_TO_SET}"


@lru_cache
def warn_open(address: str) -> None:
    """Warn on stderr, once, that the cluster at `address` demands no token."""
    print(f"warning: the Ray at {address} {OPEN} (docs/security.md)", file=sys.stderr)


def dashboard_demands_token(address: str) -> bool:
    """Whether the dashboard at `address` (http://host:port) refuses calls without a token.

    OSError or HTTPException if nothing answers there, ClusterError if it is no dashboard.
    """
    status = _status(f"{address}/api/jobs/")
    if status not in (200, 401, 403):
        raise ClusterError(
            f"what answers at {address} says {status} where Ray lists its jobs; check --address or "
            "ALIGNERY_JOBS_ADDRESS (http://head:8265)"
        )
    return status != 200


def check_dashboard_token(address: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the dashboard demands a token. ClusterError if we have no token or another token."""
    token = own_token(environment)
    if not dashboard_demands_token(address):
        return False
    if token is None or environment.get(MODE, "").strip().lower() != "token":
        raise ClusterError(f"{address} {lacks_token(environment)}")
    if _status(f"{address}/api/jobs/", token) in (401, 403):
        raise ClusterError(f"{address} {other_token(token)}")
    return True


def reached_from_outside(address: str) -> bool:
    """Whether other machines reach the cluster whose dashboard, without a token, is at `address`.

    The address alone does not show it, since a tunnel starts on loopback, too. If the nodes'
    addresses are not loopback, Ray listens on those.
    """
    if not is_loopback(urlsplit(address).hostname or ""):
        return True
    nodes_page = f"{address}/nodes?view=summary"
    try:
        with open_url(nodes_page, timeout=ANSWER_SECONDS) as response:
            nodes = json.load(response)["data"]["summary"]
        return not all(is_loopback(str(node["ip"])) for node in nodes)
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return True  # unknown, so assume that they do


def check_closed(address: str, trust_network: bool) -> None:
    """ClusterError if other machines reach a cluster that demands no token.

    `trust_network`: the user states that only people who may run code there reach it.
    """
    if trust_network or not reached_from_outside(address):
        return
    raise ClusterError(
        f"the Ray at {address} {OPEN}; or say --trust-network if only people who may do that reach "
        "it (docs/security.md)"
    )


def _refuses(address: str, token: Token | None) -> bool:
    """Whether Ray answers a call with `token` (None: without a token) by UNAUTHENTICATED."""
    import grpc

    call = _CLIENT_CALL if address.startswith("ray://") else _GCS_CALL
    metadata = None if token is None else [("authorization", f"Bearer {token.value}")]
    target = address.rpartition("://")[2]
    direct = is_local(target.rpartition(":")[0])
    options = [("grpc.enable_http_proxy", 0)] if direct else None
    with grpc.insecure_channel(target, options) as channel:
        try:
            channel.unary_unary(call)(b"", timeout=ANSWER_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            call_ended: Any = error  # has the status, unlike in gRPC's types
            status = call_ended.code()
            if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise ClusterError(
                    f"the Ray at {address} does not answer: {call_ended.details()}; check "
                    "`ray status` there"
                ) from None
            return bool(status == grpc.StatusCode.UNAUTHENTICATED)
    return False


def _status(url: str, token: Token | None = None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token.value}"}
    request = urllib.request.Request(url, headers=headers)
    try:
        with open_url(request, timeout=ANSWER_SECONDS) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
