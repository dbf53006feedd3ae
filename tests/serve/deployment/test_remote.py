"""What a cluster's dashboard is asked, and what is made of its answers; Ray's client is made up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.errors import ClusterError
from serve.app import AppArgs
from serve.commands import serve_app
from serve.deployment import remote
from serve.deployment.config import make_config
from serve.deployment.remote import EndpointState
from serve.errors import ServeError

WHERE = "http://head:8265"
CONFIG = make_config(AppArgs(base="tiny-random", keys_asked=True), "0.0.0.0", 8000)

OURS = {"status": "RUNNING", "message": "", "deployments": {}, "deployed_app_config": {"name": "a"}}
THEIRS = {**OURS, "deployed_app_config": {"name": "theirs"}}
BY_CODE = {**OURS, "deployed_app_config": None}


class Dashboard:
    """Ray's client, as far as it is asked."""

    def __init__(self, **details: Any) -> None:
        self.details: dict[str, Any] = {"applications": {}, **details}
        self.sent: list[Any] = []

    def get_serve_details(self) -> dict[str, Any]:
        return self.details

    def deploy_applications(self, config: dict[str, Any]) -> None:
        self.sent.append(config)
        self.details["applications"].pop("alignery", None)

    def delete_applications(self) -> None:
        self.sent.append(None)
        self.details["applications"].clear()


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dashboard]:
    def make(**details: Any) -> Dashboard:
        made = Dashboard(**details)
        monkeypatch.setattr(remote, "_client", lambda _: nullcontext(made))
        return made

    return make


def test_what_others_serve_stays(dashboard):
    there = dashboard(
        http_options={"host": "0.0.0.0"},
        target_capacity=50,
        applications={"theirs": THEIRS, "by code": BY_CODE},
    )
    remote.deploy(WHERE, CONFIG)
    (sent,) = there.sent
    assert [one["name"] for one in sent["applications"]] == ["theirs", "alignery"]
    assert sent["target_capacity"] == 50 and "logging_config" not in sent
    there.details["applications"]["alignery"] = OURS
    assert remote.take_down(WHERE, 1)
    assert [one["name"] for one in there.sent[1]["applications"]] == ["theirs"]
    assert not remote.take_down(WHERE, 1)


def test_the_last_one_ends_serve_and_what_code_started_stays(dashboard):
    alone = dashboard(http_options={}, applications={"alignery": OURS})
    assert remote.take_down(WHERE, 1) and alone.sent == [None]
    beside = dashboard(http_options={}, applications={"alignery": OURS, "by code": BY_CODE})
    assert remote.take_down(WHERE, 1) and beside.sent[0]["applications"] == []
    both = dashboard(http_options={}, applications={"alignery": BY_CODE, "by code": BY_CODE})
    with pytest.raises(ServeError, match="started by `alignery serve run`"):
        remote.take_down(WHERE, 1)
    assert both.sent == []


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({}, r"host '127\.0\.0\.1', which cannot become '0\.0\.0\.0'"),
        ({"host": "0.0.0.0", "port": 9000}, "port 9000, which cannot become 8000"),
    ],
)
def test_where_serve_listens_cannot_change(dashboard, now, said):
    there = dashboard(http_options=now)
    with pytest.raises(ServeError, match=said):
        remote.deploy(WHERE, CONFIG)
    assert there.sent == []
    listens = f"{now.get('host', '127.0.0.1')}:{now.get('port', 8000)}"
    assert remote.state(WHERE) == EndpointState("NOT_STARTED", listens=listens)


def test_a_build_that_failed_says_why(dashboard):
    why = "Traceback:\nModuleNotFoundError: No module named 'x'"
    failed = {**OURS, "status": "DEPLOY_FAILED", "message": why}
    dashboard(http_options={"host": "::", "port": 1}, applications={"alignery": failed})
    result = CliRunner().invoke(serve_app, ["status", "--address", WHERE])
    assert result.exit_code == 1
    assert "DEPLOY_FAILED" in result.stdout and "No module named 'x'" in result.stdout


def test_a_look_that_fails_is_not_the_last(monkeypatch):
    looks = iter([ClusterError("away"), EndpointState("DEPLOYING"), EndpointState("RUNNING")])

    def state(_: str) -> EndpointState:
        if isinstance(look := next(looks), Exception):
            raise look
        return look

    monkeypatch.setattr(remote, "state", state)
    monkeypatch.setattr(remote, "POLL_SECONDS", 0.0)
    assert [one.status for one in remote.states(WHERE, 60)] == ["DEPLOYING", "RUNNING"]


@contextmanager
def babbling() -> Iterator[str]:
    """A port that answers, and speaks no HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def babble() -> None:
            with listening.accept()[0] as caller:
                caller.recv(1000)
                caller.sendall(b"\x00\x01\n\n")

        thread = threading.Thread(target=babble)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_a_port_that_speaks_no_http(settings):
    with babbling() as url, pytest.raises(ClusterError, match=f"no Ray takes jobs at {url}"):
        remote.state(url)
