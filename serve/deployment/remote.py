"""Serve on a cluster, asked through the address at which its Ray takes jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.dashboard import connected
from cluster.errors import ClusterError
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
        whole = {**config, "applications": [*_others(details), *mine]}
        client.deploy_applications({**whole, **_of_all(details)})


def state(address: str) -> EndpointState:
    """How it is now. ClusterError."""
    with _client(address) as client:
        details = client.get_serve_details()
    options = _listening(details)
    listens = None if options is None else f"{options['host']}:{options['port']}"
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
        try:
            now = state(address)
        except ClusterError:  # one look that fails is no reason to stop looking
            if time.monotonic() > last:
                raise
        else:
            yield now
            if now.status in (RUNNING, *FAILED) or time.monotonic() > last:
                return
        time.sleep(POLL_SECONDS)


def take_down(address: str, seconds: float) -> bool:
    """End the endpoint and wait until it is gone; False if there was none.

    Serve ends with it if nobody else serves there. ServeError if it is still there after `seconds`
    (0 does not wait), or if it is somebody's `serve run`.
    """
    with _client(address) as client:
        details = client.get_serve_details()
        applications = details["applications"]
        if APPLICATION not in applications:
            return False
        if len(applications) == 1:
            client.delete_applications()
        elif applications[APPLICATION].get("deployed_app_config") is None:
            raise ServeError(
                "that endpoint was started by `alignery serve run`; end it there, with Ctrl-C"
            )
        else:  # what was started by code is no part of a config, and stays as it is
            kept = {"http_options": _listening(details), "applications": _others(details)}
            client.deploy_applications({**kept, **_of_all(details)})
        last = time.monotonic() + seconds
        while seconds and APPLICATION in client.get_serve_details()["applications"]:
            if time.monotonic() > last:
                raise ServeError(
                    f"the endpoint is still ending after {seconds:g} s; `alignery serve status` "
                    "shows when it is gone"
                )
            time.sleep(POLL_SECONDS)
    return True


def _listening(details: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where Serve's proxies listen; None while it does not run. Ray gives what was set, no more."""
    from ray.serve.config import HTTPOptions

    given = details.get("http_options")
    if given is None:
        return None
    whole = HTTPOptions(**{name: given[name] for name in _FIXED if name in given})
    return {name: getattr(whole, name) for name in _FIXED}


def _check_same_port(details: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Ray only logs a warning, and goes on listening where it did."""
    from ray.serve.schema import HTTPOptionsSchema

    now = _listening(details)
    wanted = HTTPOptionsSchema.model_validate(config.get("http_options", {}))
    for name, value in (now or {}).items():
        if (asked := getattr(wanted, name)) != value:
            raise ServeError(
                f"Ray Serve runs there with {name} {value!r}, which cannot become {asked!r} while "
                f"it runs: deploy with {name} {value!r}, or end it first (`alignery serve down`, "
                "where nobody else serves there)"
            )


def _of_all(details: Mapping[str, Any]) -> dict[str, Any]:
    """What a config says for all applications, as it is."""
    capacity = details.get("target_capacity")
    return {} if capacity is None else {"target_capacity": capacity}


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
