"""Serve on a cluster, asked through the address at which its Ray takes jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.dashboard import connected
from serve.deployment.config import APPLICATION
from serve.errors import ServeError
from serve.failures import cause

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

NOT_STARTED, RUNNING = "NOT_STARTED", "RUNNING"
FAILED = ("DEPLOY_FAILED", "UNHEALTHY")
POLL_SECONDS = 1.0
#: What cannot be changed while Serve runs.
_FIXED = ("host", "port", "root_path")


@dataclass(frozen=True)
class DeploymentState:
    """One deployment: replicas that run, and how many there should be."""

    name: str
    status: str
    running: int
    target: int
    message: str


@dataclass(frozen=True)
class EndpointState:
    """The endpoint on a cluster; `status` is Ray Serve's, NOT_STARTED if there is none.

    `listens` is `host:port` of Serve's proxies there; None while Serve does not run.
    """

    status: str
    message: str = ""
    listens: str | None = None
    deployments: tuple[DeploymentState, ...] = ()

    @property
    def problem(self) -> str:
        """Why it does not come up, as its replicas tell it."""
        accounts = [self.message, *(one.message for one in self.deployments)]
        return cause("\n".join(one for one in accounts if one))


def deploy(address: str, config: Mapping[str, Any]) -> None:
    """Have the endpoint as `config` says; what others serve on that cluster stays.

    ClusterError, and ServeError where Serve runs there already and listens elsewhere.
    """
    with _client(address) as client:
        details = client.get_serve_details()
        _check_same_port(details, config)
        mine = list(config["applications"])
        client.deploy_applications({**config, "applications": [*_others(details), *mine]})


def state(address: str) -> EndpointState:
    """How it is now. ClusterError."""
    with _client(address) as client:
        details = client.get_serve_details()
    options = details.get("http_options")
    listens = f"{options['host']}:{options['port']}" if options else None
    found = details["applications"].get(APPLICATION)
    if found is None:
        return EndpointState(NOT_STARTED, listens=listens)
    deployments = tuple(
        DeploymentState(
            name=name,
            status=one["status"],
            running=sum(each["state"] == "RUNNING" for each in one["replicas"]),
            target=one["target_num_replicas"],
            message=one["message"],
        )
        for name, one in found["deployments"].items()
    )
    return EndpointState(found["status"], found["message"], listens, deployments)


def states(address: str, seconds: float) -> Iterator[EndpointState]:
    """How it is, once a second, until it runs, has failed or so much time has gone."""
    last = time.monotonic() + seconds
    while True:
        now = state(address)
        yield now
        if now.status in (RUNNING, *FAILED) or time.monotonic() > last:
            return
        time.sleep(POLL_SECONDS)


def take_down(address: str, seconds: float) -> bool:
    """End the endpoint and wait until it is gone; False if there was none.

    Serve ends with it if nobody else serves there. ServeError if it is still there after `seconds`.
    """
    with _client(address) as client:
        details = client.get_serve_details()
        if APPLICATION not in details["applications"]:
            return False
        if others := _others(details):
            kept = {"http_options": details["http_options"], "applications": others}
            client.deploy_applications(kept)
        else:
            client.delete_applications()
        last = time.monotonic() + seconds
        while APPLICATION in client.get_serve_details()["applications"]:
            if time.monotonic() > last:
                raise ServeError(
                    f"the endpoint is still ending after {seconds:g} s; `alignery serve status` "
                    "shows when it is gone"
                )
            time.sleep(POLL_SECONDS)
    return True


def _check_same_port(details: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Ray only logs a warning, and goes on listening where it did."""
    now, wanted = details.get("http_options"), config.get("http_options", {})
    if not now:
        return
    for name in _FIXED:
        if name in wanted and wanted[name] != now[name]:
            raise ServeError(
                f"Ray Serve runs there with {name} {now[name]!r}, which cannot become "
                f"{wanted[name]!r} while it runs: deploy with {name} {now[name]!r}, or end it "
                "first (`alignery serve down`, where nobody else serves there)"
            )


def _others(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What else was deployed by a config; Serve takes a config for all that there should be."""
    return [
        one["deployed_app_config"]
        for name, one in details["applications"].items()
        if name != APPLICATION and one.get("deployed_app_config")
    ]


def _client(address: str) -> AbstractContextManager[Any]:
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

    return connected(address, ServeSubmissionClient)
