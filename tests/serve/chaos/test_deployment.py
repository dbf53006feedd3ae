"""An endpoint on a cluster, from its deployment to its end."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.database import open_database
from cluster.registry import open_registry
from cluster.settings import Settings
from cluster.simulated import simulated_head
from serve.access.keys import Keys
from serve.errors import ServeError
from serve.server import _reserved
from tests.serve.asking import connect
from tests.serve.deploying import invoke
from tests.serve.real_adapters import installation, real_adapter

pytestmark = pytest.mark.chaos

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Settings]:
    """An installation with a champion, and nothing in the way of a cluster's own environment."""
    with installation(tmp_path) as settings:
        registry = open_registry(settings)
        registry.register("arithmetic/sft", real_adapter(tmp_path / "sft", "sft", 0))
        registry.promote("arithmetic/sft", 1)
        yield settings


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A short path: Ray's sockets are far below it."""
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as name:
        yield Path(name)


def test_the_life_of_an_endpoint_on_a_cluster(served, ray_folder, monkeypatch):
    """Deployed, asked, changed, refused and taken down, through the dashboard's address alone."""
    _, secret = Keys(open_database(served)).create("me", ["infer"], None, None)
    with (
        _reserved("127.0.0.1") as port,  # Serve's proxy may share it, and no other program
        simulated_head(ray_folder, cpus=3) as address,
    ):
        options = [
            *("--gpus", "0", "--slots", "4", "--slot-tokens", "400", "--kv-gib", "0.5"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ]
        monkeypatch.setenv("ALIGNERY_JOBS_ADDRESS", address)
        assert_nothing_there()
        done = invoke("deploy", *options)
        assert "EngineReplica 1 of 1" in done.stderr and f"at port {port}" in done.stdout
        told = json.loads(invoke("status", "--json").stdout)
        assert told["status"] == "RUNNING" and told["listens"] == f"127.0.0.1:{port}"
        assert ask(port, secret) and "RUNNING" in invoke("status").stdout

        with pytest.raises(ServeError, match=f"runs there with port {port}, which cannot become 1"):
            invoke("deploy", *options[:-1], "1")
        invoke("deploy", *options, "--replicas", "2", "--without-keys")
        engines = {
            one["name"]: one for one in json.loads(invoke("status", "--json").stdout)["deployments"]
        }
        assert engines["EngineReplica"]["running"] == 2
        assert ask(port, "none")

        invoke("down")
        assert_nothing_there()
        with pytest.raises(ServeError, match="base 'no-such-base' cannot be loaded"):
            invoke("deploy", "--base", "no-such-base", *options)
        invoke("down")


def assert_nothing_there() -> None:
    result = invoke("status")
    assert result.exit_code == 1 and result.stdout.startswith("NOT_STARTED")


def ask(port: int, key: str) -> str:
    client = connect(f"http://127.0.0.1:{port}").with_options(api_key=key)
    whole = client.chat.completions.create(
        model="arithmetic/sft@champion", messages=HELLO, max_tokens=4
    )
    assert whole.system_fingerprint and whole.usage is not None
    return whole.choices[0].message.role
