"""What `alignery serve run` refuses before it starts anything."""

from __future__ import annotations

import socket

import pytest
from typer.testing import CliRunner

from serve.commands import serve_app
from serve.errors import PortInUse, ServeError


def serve_run(*arguments: str) -> None:
    CliRunner().invoke(serve_app, ["run", *arguments], catch_exceptions=False)


def test_serving_refuses_what_it_must_not_do(settings, adapters):
    with pytest.raises(ServeError, match=r"no API key: .*key create.*--without-keys"):
        serve_run("--host", "0.0.0.0")
    with pytest.raises(ServeError, match="expected an IP address"):
        serve_run("--host", "not a host")
    for size in ("0", "-1", "nan", "inf"):
        with pytest.raises(ServeError, match=r"--kv-gib .* above 0"):
            serve_run("--kv-gib", size)
    with pytest.raises(ServeError, match=r"--gpus 1.5: beyond 1, an engine takes whole GPUs"):
        serve_run("--gpus", "1.5")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 is in use"):
            serve_run("--port", str(port))


def test_serving_needs_a_base_that_is_clear(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "empty"))
    with pytest.raises(ServeError, match="no champion is registered; name the base"):
        serve_run("--port", "18123")
