"""Connecting to a Ray cluster, or running a local one for the length of a `with` block."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil  # type: ignore[import-untyped]

from cluster.errors import ClusterError
from cluster.settings import Settings

#: Adapters and metrics travel through the object store, data sets and models do not.
OBJECT_STORE_BYTES = 512 * 1024**2
CONNECT_SECONDS = 5
STOP_SECONDS = 5

#: Ray puts sockets some 70 characters below its temp dir, and a socket's path may have 107.
_LONGEST_ROOT = 20

_LOCAL = {
    # Without a token nobody may come in from outside, so Ray must listen on loopback only. This
    # variable, named after the systems where that is the default, makes it so everywhere.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def ray_session(settings: Settings, num_cpus: int | None = None) -> Iterator[str]:
    """Ray for the length of the block; gives its address and stops only what it started.

    Connects to `settings.ray_address`, or else starts a local Ray with `num_cpus` (default: all
    of this machine) that listens on loopback only. Ray gives each worker as many OMP threads as
    its task or actor has CPUs. SIGTERM ends the block like Ctrl-C does, as SystemExit. Inside
    another session it gives that one's address and stops nothing. ClusterError if the cluster
    cannot be reached or started.
    """
    import ray

    if ray.is_initialized():
        yield ray.get_runtime_context().gcs_address
        return
    session = _local(num_cpus) if settings.ray_address is None else _joined(settings.ray_address)
    with _ended_by_sigterm(), session as address:
        yield address


@contextmanager
def _joined(address: str) -> Iterator[str]:
    """Join a running cluster, and leave it at the end."""
    import ray
    from ray.exceptions import RayError

    loopback = address != "auto" and _check_reachable(address)
    try:
        with _loopback() if loopback else nullcontext():
            _init(address=address)
    except (RayError, OSError, RuntimeError, ValueError, ImportError) as error:
        raise ClusterError(_unreachable(address, error)) from error
    try:
        yield address if "://" in address else ray.get_runtime_context().gcs_address
    finally:
        with _signals_deferred():
            ray.shutdown()


@contextmanager
def _local(num_cpus: int | None) -> Iterator[str]:
    """Start Ray's processes on this machine, and end them."""
    try:
        folder = _temp_dir()
    except OSError as error:
        raise ClusterError(f"no folder for a local Ray: {error}; set TMPDIR to one") from error
    try:
        with _environment():
            yield _start(folder, num_cpus)
    finally:
        with _signals_deferred():
            _stop(folder)


def _start(folder: Path, num_cpus: int | None) -> str:
    try:
        with _loopback():
            context = _init(
                address="local",
                num_cpus=num_cpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                _temp_dir=str(folder),
            )
    except Exception as error:  # whatever keeps Ray from starting, there is no way on
        cause = " ".join(str(error).split())
        raise ClusterError(
            f"cannot start a local Ray: {cause}; check free memory and disk space in "
            f"{folder.parent}, or set ALIGNERY_RAY_ADDRESS to a running cluster"
        ) from error
    return str(context.address_info["address"])


def _init(**options: Any) -> Any:
    import ray

    handler = _sigterm_handler()
    try:
        return ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    finally:
        if handler is not None:  # Ray has put its own in this place
            signal.signal(signal.SIGTERM, handler)


def _stop(folder: Path) -> None:
    """End the Ray whose files are in `folder`, also one that was interrupted while starting."""
    import ray

    processes = _processes(folder)
    try:
        ray.shutdown(wait_for_processes=True)
    finally:
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    end(process)
            _, processes = psutil.wait_procs(processes, timeout=STOP_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _processes(folder: Path) -> list[Any]:
    """This process's children that work in `folder`, and all that those started."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if str(folder) in " ".join(child.cmdline()):
                found += [child, *child.children(recursive=True)]
    return found


def _temp_dir() -> Path:
    root = tempfile.gettempdir()
    if len(root) > _LONGEST_ROOT:
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


@contextmanager
def _loopback() -> Iterator[None]:
    """Let Ray take 127.0.0.1 for this machine's address. A private name of Ray 2.60.

    Child processes read the variable in `_LOCAL`; here Ray may have been imported before it was
    set.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _check_reachable(address: str) -> bool:
    """Whether a Ray listens at `address` on loopback only. ClusterError if nothing listens.

    Ray itself would try for two minutes and then end the process.
    """
    from ray.util import get_node_ip_address

    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        _knock(host, int(port))
    except (OSError, OverflowError) as error:
        raise ClusterError(_unreachable(address, error)) from None
    if host not in ("127.0.0.1", "localhost") or "://" in address:
        return False
    try:
        _knock(get_node_ip_address(), int(port))
    except OSError:
        return True
    return False


def _knock(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()


def _unreachable(address: str, error: Exception) -> str:
    cause = " ".join(str(error).split())
    return (
        f"no Ray cluster at {address}: {cause}; check `ray status` there, use ray://host:10001 "
        "from outside the cluster, or unset ALIGNERY_RAY_ADDRESS to start a local Ray"
    )


def _in_main_thread() -> bool:
    """Only there may a program set signal handlers."""
    return threading.current_thread() is threading.main_thread()


def _sigterm_handler() -> Any:
    return signal.getsignal(signal.SIGTERM) if _in_main_thread() else None


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that the block cleans up, unless somebody handles it."""
    before = _sigterm_handler()
    if before == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the block is done: half a clean-up leaves processes."""
    if not _in_main_thread():
        yield
        return
    came: list[int] = []
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    for one in before:
        signal.signal(one, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        if came:
            signal.raise_signal(came[0])
