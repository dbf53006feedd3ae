"""Connecting to a Ray cluster, or running a local Ray, for the duration of a `with` block."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from cluster.authentication import check_token, lacks_token, warn_open
from cluster.compat.ray_core import loopback, own_sessions
from cluster.errors import ClusterError
from cluster.head import Head, knock
from cluster.local_calls import past_proxies
from cluster.settings import Settings
from cluster.signals import ended_by_signals, signals_deferred, sigterm_handler
from cluster.token import local_token

#: Adapters and metrics travel through the object store, data sets and models do not.
OBJECT_STORE_BYTES = 512 * 1024**2
STOP_SECONDS = 5
#: Short, since a local GCS that died is not restarted.
LOCAL_PATIENCE_SECONDS = 5.0

#: Ray puts sockets some 70 characters below its temp dir, and a socket's path may have 107.
_LONGEST_ROOT = 20
#: Ray writes its temp dir into command lines, without quoting it, and into messages of ASCII.
_UNQUOTED = frozenset("'\"\\\n\t")

_LOCAL = {
    # Ray listens on loopback only. This variable, named after the systems where that is the
    # default, makes it so everywhere.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's metrics servers demand no token, and nobody reads a local Ray's metrics. Two of the
    # servers cannot be switched off, but do not start on an invalid port.
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
    # Ray Serve passes each part of an answer between threads, twice in each process. This guards
    # against code that blocks its event loop, and `serve` has no such code.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    # Ray hides cards from processes that claim no GPU, as it did before 2.60.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # The default is ten times a second for each process.
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
}


@contextmanager
def ray_session(settings: Settings, num_cpus: int | None = None) -> Iterator[str]:
    """Ray for the duration of the block; yields its address and stops only what it started.

    Connects to `settings.ray_address`, or else starts a local Ray with `num_cpus` (default: all
    of this machine) that listens on loopback only and demands a token of its own. Ray gives each
    worker as many OMP threads as its task or actor has CPUs. SIGTERM and SIGHUP end the block like
    Ctrl-C does, as SystemExit. Inside another session it yields that session's address and stops
    nothing. Joining a cluster that demands no token gives a warning. ClusterError if the cluster
    cannot be reached or started, or demands another token than this machine has.
    """
    import ray

    if ray.is_initialized():
        yield ray.get_runtime_context().gcs_address
        return
    session = _local(num_cpus) if settings.ray_address is None else _joined(settings.ray_address)
    with ended_by_signals(), session as address:
        yield address


@contextmanager
def _joined(address: str) -> Iterator[str]:
    """Join a running cluster, and leave it at the end."""
    import ray
    from ray.exceptions import AuthenticationError, RayError

    on_loopback, demands_token = False, None
    if address != "auto":  # Ray itself resolves it
        on_loopback, demands_token = _check_reachable(address), check_token(address)
    try:
        with loopback() if on_loopback else nullcontext():
            _init(address=address)
    except AuthenticationError:
        raise ClusterError(f"the Ray at {address} {lacks_token(os.environ)}") from None
    except (RayError, OSError, RuntimeError, ValueError, ImportError) as error:
        raise ClusterError(_unreachable(address, error)) from error
    head = None if "://" in address else Head(ray.get_runtime_context().gcs_address)
    try:
        if demands_token is None and head is not None:
            demands_token = check_token(head.address)
        if not demands_token:
            warn_open(address)
        if head is None:
            yield address
        else:
            with head.watched():
                yield head.address
    finally:
        if head is None or not head.lost:
            with signals_deferred():
                ray.shutdown()


@contextmanager
def _local(num_cpus: int | None) -> Iterator[str]:
    """Start Ray's processes on this machine, and end them."""
    with ExitStack() as stack:
        try:
            folder = _temp_dir()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(local_token(folder))
        except OSError as error:
            raise ClusterError(f"no folder for a local Ray: {error}; set TMPDIR to one") from error
        head = None
        try:
            with _environment(), past_proxies("127.0.0.1"):
                address = _start(folder, num_cpus)
                head = Head(address, LOCAL_PATIENCE_SECONDS, last_act=partial(_kill, folder))
                with head.watched():
                    yield head.address
        finally:
            with signals_deferred():
                lost = head is not None and head.lost  # Ray's shutdown would wait for it
                _kill(folder) if lost else _stop(folder)


def _start(folder: Path, num_cpus: int | None) -> str:
    try:
        with loopback(), own_sessions():
            context = _init(
                address="local",
                num_cpus=num_cpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                _temp_dir=str(folder),
            )
    except Exception as error:  # of any type: without Ray nothing can run
        cause = " ".join(str(error).split())
        raise ClusterError(
            f"cannot start a local Ray: {cause}; check free memory and disk space in "
            f"{folder.parent}, or set ALIGNERY_RAY_ADDRESS to a running cluster"
        ) from error
    return str(context.address_info["address"])


def _init(**options: Any) -> Any:
    import ray

    handler = sigterm_handler()
    try:
        return ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    finally:
        if handler is not None:  # Ray has replaced it by its own
            signal.signal(signal.SIGTERM, handler)


def _stop(folder: Path) -> None:
    """Stop the Ray whose files are in `folder`, even if its start was interrupted."""
    import ray

    processes = _processes(folder)
    try:
        ray.shutdown(wait_for_processes=True)
    finally:
        _end(processes, psutil.Process.terminate)
        _kill(folder, processes)


def _kill(folder: Path, processes: Sequence[Any] | None = None) -> None:
    """Kill the Ray whose files are in `folder`, and delete them."""
    _end(_processes(folder) if processes is None else processes, psutil.Process.kill)
    shutil.rmtree(folder, ignore_errors=True)


def _end(processes: Sequence[Any], stop: Callable[[Any], None]) -> None:
    running = [process for process in processes if process.is_running()]
    for process in running:
        with suppress(psutil.NoSuchProcess):
            stop(process)
    psutil.wait_procs(running, timeout=STOP_SECONDS)


def _processes(folder: Path) -> list[Any]:
    """This process's children whose command line names `folder`, and all their descendants."""
    processes = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if str(folder) in " ".join(child.cmdline()):
                processes += [child, *child.children(recursive=True)]
    return processes


def _temp_dir() -> Path:
    root = tempfile.gettempdir()
    if len(root) > _LONGEST_ROOT or not root.isascii() or _UNQUOTED & set(root):
        root = "/tmp"
    return Path(tempfile.mkdtemp(prefix="alignery-", dir=root))


@contextmanager
def _environment() -> Iterator[None]:
    """Ray's variables for a local start, without overriding what the user has set."""
    added = {name: value for name, value in _LOCAL.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _check_reachable(address: str) -> bool:
    """Whether the Ray at `address` listens on loopback only. ClusterError if nothing listens.

    Ray itself would try for two minutes and then end the process.
    """
    from ray.util import get_node_ip_address

    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        knock(host, int(port))
    except (OSError, OverflowError) as error:
        raise ClusterError(_unreachable(address, error)) from None
    if host not in ("127.0.0.1", "localhost") or "://" in address:
        return False
    try:
        knock(get_node_ip_address(), int(port))
    except OSError:
        return True
    return False


def _unreachable(address: str, error: Exception) -> str:
    cause = " ".join(str(error).split())
    return (
        f"no Ray cluster at {address}: {cause}; check `ray status` there, use ray://host:10001 "
        "from outside the cluster, or unset ALIGNERY_RAY_ADDRESS to start a local Ray"
    )
