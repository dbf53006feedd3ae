"""What processes listen on, and how each socket answers somebody who has no token."""

from __future__ import annotations

import importlib
import pickle
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

SECONDS = 20
#: Ray's services as their generated modules name them; the object manager's has no such module.
_MODULES = ("autoscaler", "core_worker", "gcs_service", "node_manager", "reporter", "logging",
            "events_event_aggregator_service", "instance_manager", "ray_client")  # fmt: skip
_OBJECT_MANAGER = tuple(
    f"/ray.{package}ObjectManagerService/{method}"
    for package in ("rpc.", "rpc.object_manager.")
    for method in ("Push", "Pull", "FreeObjects")
)
_REPLICA = tuple(
    f"/ray.serve.ASGIService/{method}"
    for method in (
        "HandleRequest",
        "HandleRequestStreaming",
        "HandleRequestWithRejection",
        "HandleRequestWithRejectionStreaming",
    )
)
#: A message without fields. gRPC takes any message apart before Ray asks for the token, but a
#: method that went on to read this one would answer something else than that the token is missing.
_EMPTY = b""


@dataclass(frozen=True, order=True)
class Listener:
    """A socket that a process listens on."""

    process: str
    ip: str
    port: int

    @property
    def loopback(self) -> bool:
        return self.ip.removeprefix("::ffff:").startswith("127.") or self.ip == "::1"


class Marker:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> object:
        return Path.touch, (self._file,)


def family(process: int) -> list[psutil.Process]:
    """A process and all that descend from it."""
    parent = psutil.Process(process)
    return [parent, *parent.children(recursive=True)]


def listeners(processes: Iterable[psutil.Process]) -> set[Listener]:
    """TCP sockets that listen, and UDP sockets that are bound."""
    found = set()
    for process in processes:
        try:
            for one in process.net_connections(kind="inet"):
                bound = one.type == socket.SOCK_DGRAM and not one.raddr
                if one.status == psutil.CONN_LISTEN or bound:
                    found.add(Listener(process.name(), one.laddr.ip, one.laddr.port))
        except psutil.NoSuchProcess:
            continue
    return found


def complaints(found: Iterable[Listener], asked: int | None, marker: Path) -> list[str]:
    """What is wrong with sockets beside the HTTP port that was `asked` for; empty if nothing is.

    Each must be on loopback and refuse all calls without a token, for this reason and no other, and
    must not unpickle what would create `marker`.
    """
    said = []
    for one in sorted(found):
        if one.port == asked and one.loopback:
            continue
        if not one.loopback:
            said.append(f"{one} is not on loopback")
        if answer := _answers_strangers(one, marker):
            said.append(f"{one} {answer}")
        if marker.exists():
            said.append(f"{one} unpickled what a stranger sent")
            marker.unlink()
    return said


def _answers_strangers(listener: Listener, marker: Path) -> str:
    """How the socket answers a caller without a token; empty where it refuses each call."""
    if (status := _http_status(listener.port)) is not None:
        return "" if status in (401, 403) else f"answers HTTP without a token: {status}"
    codes = dict(_calls(listener.port, marker))
    taken = {name: code for name, code in codes.items() if code not in ("", "UNAUTHENTICATED")}
    if taken:
        return f"takes calls without a token: {taken}"
    return "" if "UNAUTHENTICATED" in codes.values() else "speaks a protocol that is not known"


def _http_status(port: int) -> int | None:
    """The status of a request for a page that no server shows everybody; None if it is no HTTP."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        try:
            connection.sendall(
                b"GET /api/jobs/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            said = connection.recv(64)
        except OSError:
            return None
    return int(said.split()[1]) if said.startswith(b"HTTP/1") else None


def _calls(port: int, marker: Path) -> Iterator[tuple[str, str]]:
    """Each method that we know of, and the code of its answer; empty where it is not there."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method, payload in _methods(marker):
            try:
                channel.unary_unary(method)(payload, timeout=SECONDS)
                yield method, "OK"
            except grpc.RpcError as error:
                code = error.code().name
                yield method, "" if code == "UNIMPLEMENTED" else code


def _methods(marker: Path) -> Iterator[tuple[str, bytes]]:
    from ray.serve.generated import serve_pb2

    pickled = serve_pb2.ASGIRequest(pickled_request_metadata=pickle.dumps(Marker(marker)))
    for method in _REPLICA:
        yield method, pickled.SerializeToString()
    for method in _OBJECT_MANAGER:
        yield method, _EMPTY
    for name in _MODULES:
        described = importlib.import_module(f"ray.core.generated.{name}_pb2").DESCRIPTOR
        for service in described.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", _EMPTY
