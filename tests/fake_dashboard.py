"""Ray's dashboard as far as it says who is let in and which machines there are."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Dashboard(ThreadingHTTPServer):
    """Answers as Ray's dashboard does, on nodes with the addresses `ips`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token: str | None = None
        self.ips = ["127.0.0.1"]
        self.seen: list[str] = []
        self.status = 200

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "")
        self.server.seen.append(sent)
        right = self.server.token is None or sent == f"Bearer {self.server.token}"
        if not right and self.path != "/api/version":
            self._answer({}, 403 if sent else 401)
            return
        nodes = [{"ip": one} for one in self.server.ips]
        page = {"data": {"summary": nodes}} if "nodes" in self.path else []
        self._answer(page, self.server.status)

    def _answer(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def fake_dashboard() -> Iterator[Dashboard]:
    """It answers until the block ends."""
    with Dashboard() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            yield server
        finally:
            server.shutdown()
