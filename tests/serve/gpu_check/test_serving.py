"""Many requests at once on a real worker, and over HTTP on an endpoint that fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from align.gpu_check.check import Setting
from align.inference.engine import BankEngine
from serve.gpu_check import serving

CPU = Setting("tiny-random", "cpu", Path())


@contextmanager
def endpoint(statuses: list[int]) -> Iterator[str]:
    """A server that answers with these statuses, then with 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.end_headers()
            self.wfile.write(b'{"message": "so it is"}')

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_two_hundred_requests_at_once_are_answered() -> None:
    outcome = serving.run(CPU)
    assert outcome.verdict == "PASS", outcome.sentence
    assert outcome.figures["requests"] == 200 and outcome.figures["burst_seconds"] > 0


def test_an_engine_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(self: BankEngine) -> None:
        raise RuntimeError("kernel fault")

    monkeypatch.setattr(BankEngine, "step", step)
    outcome = serving.run(CPU)
    assert outcome.verdict == "FAIL"
    assert "200 of 200 requests failed" in outcome.sentence
    assert "kernel fault" in outcome.sentence


def test_errors_of_http_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REQUESTS", 5)
    with endpoint([500, 503]) as url:
        errors = serving.burst(url)
        assert sorted(error[:3] for error in errors) == ["500", "503"]
        assert "so it is" in errors[0]
        assert serving.ask(url, "hello") is None
    assert serving.ask(url, "hello") is not None


def test_it_waits_for_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.time, "sleep", lambda _: None)
    processes = iter([1, None, 1, 2, 2])
    monkeypatch.setattr(serving, "replica_process", lambda: next(processes))
    with endpoint([500]) as url:
        assert serving.wait_until_replaced(url, 1) is not None
    assert next(processes, None) is None  # the first answer of process 2 was an error
    monkeypatch.setattr(serving, "_REPLACED_SECONDS", 0)
    assert serving.wait_until_replaced(url, 1) is None
