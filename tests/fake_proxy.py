"""A proxy that records what reaches it, and the environment that names it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

NAMES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
WITHOUT = ("no_proxy", "NO_PROXY", "no_grpc_proxy")


class Proxy(ThreadingTCPServer):
    """Answers every request by 502, after it has recorded its first line and its headers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[str] = []

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that name this proxy, in lower and upper case."""
        address = f"http://127.0.0.1:{self.server_address[1]}"
        return {spelt: address for name in NAMES for spelt in (name, name.upper())}

    def set_in(self, patch: pytest.MonkeyPatch) -> None:
        """Name this proxy in the environment, for every host."""
        for name in WITHOUT:
            patch.delenv(name, raising=False)
        for name, value in self.environment.items():
            patch.setenv(name, value)


class _Handler(StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        lines = []
        while (line := self.rfile.readline().strip()) != b"":
            lines.append(line.decode("latin-1"))
        self.server.seen.append("\n".join(lines))
        self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def fake_proxy() -> Iterator[Proxy]:
    """It listens until the block ends."""
    with Proxy() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            yield server
        finally:
            server.shutdown()
