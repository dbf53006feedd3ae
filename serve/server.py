"""An endpoint for the duration of a `with` block, on the Ray that this process is connected to."""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

from cluster.local_calls import open_url
from cluster.settings import Settings
from serve.deployment.config import APPLICATION
from serve.errors import PortInUse, ServeError
from serve.failures import cause
from serve.free_resources import free_cpus, free_gpus
from serve.sizes import Sizes

if TYPE_CHECKING:
    from ray.serve import Application

    from serve.app import AppArgs

READY_SECONDS = 60
SHUTDOWN_SECONDS = 30

_QUIET = {"log_level": "ERROR", "enable_access_log": False}


@contextmanager
def running_server(
    settings: Settings,
    base: str,
    host: str = "127.0.0.1",
    port: int | None = None,
    cpus: int | None = None,
    sizes: Sizes | None = None,
    keys_asked: bool | None = None,
    application: Callable[[AppArgs], Application] | None = None,
    gpus: float | None = None,
) -> Iterator[str]:
    """Serve `base` and its adapters; yields the URL, without /v1, once requests are answered.

    Needs an initialised Ray (see `cluster.ray.ray_session`) on which no Serve runs. `port` None
    takes a free port. `cpus` None takes all free CPUs, at most as many as this machine has. `sizes`
    None takes the defaults. `keys_asked` None requires API keys once a key exists. `application`
    replaces `serve.app.build`. `gpus` None takes a GPU if Ray has any, else none. Everything is
    shut down at the end. When PortInUse or ServeError is raised, nothing is left running.
    """
    if port is not None:
        check_port(host, port)
    _check_no_serve()
    cpus = free_cpus(cpus)
    gpus = free_gpus(gpus, cpus)
    from ray import serve

    from serve.app import AppArgs, build

    args = AppArgs(
        base=base,
        home=str(settings.home),
        database_url=settings.database_url,
        storage=settings.storage,
        cpus=cpus,
        gpus=gpus,
        keys_asked=keys_asked,
        trust_network=True,  # users of an open Ray were warned when they connected to it
        **(sizes or Sizes()).model_dump(),
    )
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        with _reserved(host) if port is None else nullcontext(port) as port:
            serve.start(
                proxy_location="HeadOnly",
                http_options={"host": host, "port": port},
                logging_config=_QUIET,
            )
        _deploy(serve, (application or build)(args))
        url = f"http://{_reachable(host)}:{port}"
        _wait_ready(url)
        yield url
    finally:
        _shut_down(serve)


def check_port(host: str, port: int) -> None:
    """PortInUse if the port is taken or not permitted; ServeError if `host` cannot be bound."""
    try:
        with _bound(host, port, socket.SO_REUSEADDR) as probe:
            probe.listen()
    except PermissionError:
        raise PortInUse(f"port {port} needs more rights; choose one from 1024 on") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} on {host} is in use by another program; end it, or choose another "
                "with --port"
            ) from None
        raise ServeError(f"cannot listen on {host}: {error.strerror or error}") from None


@contextmanager
def _reserved(host: str) -> Iterator[int]:
    """A free port that no other program can take during the block, although Serve can listen on it.

    Serve's proxy binds with SO_REUSEPORT, so it can share a port with a socket that does, too.
    """
    try:
        placeholder = _bound(host, 0, socket.SO_REUSEPORT)
    except OSError as error:
        raise ServeError(f"cannot listen on {host}: {error.strerror or error}") from None
    with placeholder:
        yield placeholder.getsockname()[1]


def _bound(host: str, port: int, option: int) -> socket.socket:
    """A TCP socket bound to `host` and `port`, with `option` of level SOL_SOCKET set to 1."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _reachable(host: str) -> str:
    """The host under which clients reach a server that listens on `host`."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    return loopback.get(host, f"[{host}]" if ":" in host else host)


def _controller() -> Any | None:
    """Serve's controller on this Ray; None if Serve does not run."""
    import ray

    try:
        return ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
    except ValueError:
        return None


def _check_no_serve() -> None:
    """ServeError if Serve runs already.

    Serve has a single HTTP port per cluster, and its shutdown would end the applications of others.
    """
    if _controller() is not None:
        raise ServeError(
            "Ray Serve runs on this cluster already; deploy to it with `alignery serve deploy`, or "
            "end it with `alignery serve down` or `serve shutdown`"
        )


def _shut_down(serve: Any) -> None:
    """End Serve quietly.

    `serve.shutdown` alone waits in a call to the controller, which dies during the call, and Ray
    reports that on stdout. So the controller is shut down first, before `serve.shutdown`.
    """
    import ray

    if (controller := _controller()) is not None:
        with suppress(ray.exceptions.RayError):
            ray.get(controller.graceful_shutdown.remote(wait=False), timeout=SHUTDOWN_SECONDS)
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        while _controller() is not None and time.monotonic() < deadline:
            time.sleep(0.1)
    serve.shutdown()


def _deploy(serve: Any, application: Any) -> None:
    try:
        serve.run(application, name=APPLICATION, route_prefix="/")
    except RuntimeError as error:
        application = serve.status().applications[APPLICATION]
        messages = [deployment.message for deployment in application.deployments.values()]
        raise ServeError(cause("\n".join([str(error), *messages]))) from error


def _wait_ready(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with open_url(f"{url}/readyz", timeout=READY_SECONDS):
                return
        except (URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise ServeError(f"{url}/readyz does not answer: {error}") from None
        time.sleep(0.1)
