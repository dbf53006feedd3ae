"""Ray Serve on a cluster, through the REST API of the cluster's dashboard."""

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
#: HTTP options that cannot be changed while Serve runs.
_FIXED = ("host", "port", "root_path")


@dataclass(frozen=True)
class DeploymentState:
    """A deployment; `running` and `target` are numbers of replicas."""

    name: str
    status: str
    running: int
    target: int
    message: str


@dataclass(frozen=True)
class EndpointState:
    """The endpoint on a cluster; `status` is Ray Serve's, NOT_STARTED if there is no endpoint.

    `listens` is the `host:port` of Serve's proxies; None while Serve does not run.
    """

    status: str
    message: str = ""
    listens: str | None = None
    deployments: tuple[DeploymentState, ...] = ()

    @property
    def problem(self) -> str:
        """Why the endpoint does not start, from the messages of Serve and its deployments."""
        messages = [self.message, *(deployment.message for deployment in self.deployments)]
        return cause("\n".join(message for message in messages if message))


def deploy(address: str, config: Mapping[str, Any]) -> None:
    """Deploy the endpoint by `config`; other applications on the cluster stay.

    ClusterError; ServeError if Serve runs there already and listens on another address.
    """
    with _client(address) as client:
        details = client.get_serve_details()
        _check_same_port(details, config)
        own = list(config["applications"])
        merged = {**config, "applications": [*_others(details), *own]}
        client.deploy_applications({**merged, **_of_all(details)})


def state(address: str) -> EndpointState:
    """The endpoint's current state. ClusterError."""
    with _client(address) as client:
        details = client.get_serve_details()
    options = _listening(details)
    listens = None if options is None else f"{options['host']}:{options['port']}"
    application = details["applications"].get(APPLICATION)
    if application is None:
        return EndpointState(NOT_STARTED, listens=listens)
    deployments = tuple(
        DeploymentState(
            name=name,
            status=deployment["status"],
            running=sum(replica["state"] == "RUNNING" for replica in deployment["replicas"]),
            target=deployment["target_num_replicas"],
            message=deployment["message"],
        )
        for name, deployment in application["deployments"].items()
    )
    return EndpointState(application["status"], application["message"], listens, deployments)


def states(address: str, seconds: float) -> Iterator[EndpointState]:
    """The endpoint's state, once a second, until it runs, has failed or `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            current = state(address)
        except ClusterError:  # a failed request is retried until the deadline
            if time.monotonic() > deadline:
                raise
        else:
            yield current
            if current.status in (RUNNING, *FAILED) or time.monotonic() > deadline:
                return
        time.sleep(POLL_SECONDS)


def take_down(address: str, seconds: float) -> bool:
    """End the endpoint and wait until it is gone; False if there was none.

    Without other applications, Serve itself is ended. ServeError if the endpoint still exists after
    `seconds` (0 does not wait), or if it was started by `serve run`.
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
        else:  # applications started by code are not part of a config, and stay unchanged
            remaining = {"http_options": _listening(details), "applications": _others(details)}
            client.deploy_applications({**remaining, **_of_all(details)})
        deadline = time.monotonic() + seconds
        while seconds and APPLICATION in client.get_serve_details()["applications"]:
            if time.monotonic() > deadline:
                raise ServeError(
                    f"the endpoint is still ending after {seconds:g} s; `alignery serve status` "
                    "shows when it is gone"
                )
            time.sleep(POLL_SECONDS)
    return True


def _listening(details: Mapping[str, Any]) -> dict[str, Any] | None:
    """The HTTP options of Serve's proxies, defaults included; None while Serve does not run."""
    from ray.serve.config import HTTPOptions

    explicit = details.get("http_options")  # Ray returns only options that were set
    if explicit is None:
        return None
    options = HTTPOptions(**{name: explicit[name] for name in _FIXED if name in explicit})
    return {name: getattr(options, name) for name in _FIXED}


def _check_same_port(details: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """ServeError if the HTTP options differ: Ray would log a warning and keep the old ones."""
    from ray.serve.schema import HTTPOptionsSchema

    current = _listening(details)
    requested = HTTPOptionsSchema.model_validate(config.get("http_options", {}))
    for name, value in (current or {}).items():
        if (new := getattr(requested, name)) != value:
            raise ServeError(
                f"Ray Serve runs there with {name} {value!r}, which cannot become {new!r} while "
                f"it runs: deploy with {name} {value!r}, or end it first (`alignery serve down`, "
                "where nobody else serves there)"
            )


def _of_all(details: Mapping[str, Any]) -> dict[str, Any]:
    """The current settings of a config that apply to all applications."""
    capacity = details.get("target_capacity")
    return {} if capacity is None else {"target_capacity": capacity}


def _others(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Configs of the other deployed applications: Serve ends those that a new config lacks."""
    return [
        application["deployed_app_config"]
        for name, application in details["applications"].items()
        if name != APPLICATION and application.get("deployed_app_config")
    ]


def _client(address: str) -> AbstractContextManager[Any]:
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

    return connected(address, ServeSubmissionClient)
