"""What is said to Ray's job server and what is made of its answers. The server is a stand-in;
tests/sweeps/test_submit.py talks to Ray's own."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import ClusterError, JobNotFound, SettingsError
from cluster.jobs import (
    Submission,
    find_job,
    job_status,
    own_job_id,
    stop_unless_obeyed,
    submit_job,
)
from cluster.settings import Settings


class Server(ThreadingHTTPServer):
    """Jobs by id, as Ray keeps them. Stopping one takes effect at once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []
        self.uploads = 0
        self.token: str | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, job_id: str, status: str, recipe: str = "toy", began: int = 1) -> None:
        self.jobs[job_id] = {
            "type": "SUBMISSION",
            "submission_id": job_id,
            "status": status,
            "entrypoint": "x",
            "message": f"it is {status}",
            "start_time": began * 1000,
            "metadata": {"alignery_recipe": recipe},
        }


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        *_, last = self.path.rstrip("/").split("/")
        if self.path == "/api/version":
            self._answer({"version": "4", "ray_version": "2.60.0", "ray_commit": "x"})
        elif self.path.startswith("/api/packages/"):
            self._answer("no such package", 404)
        elif last == "jobs":
            self._answer(list(self.server.jobs.values()))
        elif last in self.server.jobs:
            self._answer(self.server.jobs[last])
        else:
            self._answer(f"Job {last} does not exist", 404)

    def do_PUT(self) -> None:
        self.server.uploads += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({})

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        if self.path.endswith("/stop"):
            self.server.jobs[self.path.split("/")[-2]]["status"] = "STOPPED"
            return self._answer({"stopped": True})
        if sent["submission_id"] in self.server.jobs:
            return self._answer(f"Job {sent['submission_id']} already exists", 500)
        self.server.sent.append(sent)
        self.server.add(sent["submission_id"], "PENDING", sent["metadata"]["alignery_recipe"])
        return self._answer({"job_id": "x", "submission_id": sent["submission_id"]})

    def _answer(self, content: Any, code: int = 200) -> None:
        if self.server.token and self.headers.get("Authorization") != self.server.token:
            content, code = "Unauthorized: Missing authentication token", 401
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    import zipfile

    package = tmp_path / "package.zip"
    with zipfile.ZipFile(package, "w") as file:
        file.writestr("recipe.yaml", "name: toy")
    return Submission(
        "toy-abc", "toy", "alignery sweep run r.yaml", package, {"HF_HUB_OFFLINE": "1"}
    )


def test_a_job_runs_on_the_head_and_takes_nothing_from_the_trials(
    server: Server, submission: Submission
) -> None:
    job, new = submit_job(server.address, submission)
    assert new and job.id == "toy-abc" and job.recipe == "toy" and job.live
    (sent,) = server.sent
    assert not [name for name in sent if name.startswith("entrypoint_")]
    assert sent["entrypoint"] == "alignery sweep run r.yaml"
    assert sent["runtime_env"]["working_dir"].startswith("gcs://")
    environment = sent["runtime_env"]["env_vars"]
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["ALIGNERY_RAY_ADDRESS"] == "auto"


def test_the_same_submission_finds_the_job_that_runs(
    server: Server, submission: Submission
) -> None:
    first, _ = submit_job(server.address, submission)
    server.jobs[first.id]["status"] = "RUNNING"
    again, new = submit_job(server.address, submission)
    assert (again.id, new, len(server.sent)) == (first.id, False, 1)


@pytest.mark.parametrize("ended", ["SUCCEEDED", "FAILED", "STOPPED"])
def test_after_its_end_it_is_submitted_under_the_next_id(
    server: Server, submission: Submission, ended: str
) -> None:
    server.add("toy-abc", ended)
    server.add("toy-abc-2", ended, began=2)
    server.add("toy-abc-x", "RUNNING", began=3)  # another's
    job, new = submit_job(server.address, submission)
    assert new and job.id == "toy-abc-3"


def test_addresses_in_rays_own_variables_do_not_replace_the_given_one(
    server: Server, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    assert submit_job(server.address, submission)[1]
    import os

    assert os.environ["RAY_ADDRESS"] == "http://127.0.0.1:9"


def test_a_job_is_found_by_its_id_its_recipe_a_line_or_as_the_newest(server: Server) -> None:
    server.add("a-1", "SUCCEEDED", "a", began=1)
    server.add("a-2", "RUNNING", "a", began=2)
    server.add("b-1", "FAILED", "b", began=3)
    server.jobs["driver"] = {"type": "DRIVER", "status": "RUNNING", "entrypoint": "notebook"}
    found = [find_job(server.address, name).id for name in ("a-1", "a", "a/sft", None)]
    assert found == ["a-1", "a-2", "a-2", "b-1"]
    with pytest.raises(JobNotFound, match=r"no job of 'c' at .*; there are jobs of a, b"):
        find_job(server.address, "c")
    with pytest.raises(JobNotFound, match=r"no job 'c-1'.*forgets its jobs"):
        job_status(server.address, "c-1")


def test_one_that_waits_for_its_machine_is_stopped_at_once(server: Server) -> None:
    server.add("toy", "PENDING")
    job = stop_unless_obeyed(server.address, "toy", lambda: False, seconds=1000)
    assert job.status == "STOPPED"


def test_one_that_obeys_ends_by_itself(server: Server) -> None:
    server.add("toy", "RUNNING")
    asked = chain([False], repeat(True))

    def obeyed() -> bool:
        return next(asked)

    assert stop_unless_obeyed(server.address, "toy", obeyed, seconds=1000).status == "RUNNING"


def test_one_that_does_not_is_stopped_by_ray(server: Server) -> None:
    server.add("toy", "RUNNING")
    assert stop_unless_obeyed(server.address, "toy", lambda: False, seconds=0).status == "STOPPED"


def test_nobody_there_is_one_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ClusterError, match=f"no Ray takes jobs at .*{port}.*ALIGNERY_JOBS_ADDRESS"):
        job_status(f"http://127.0.0.1:{port}", "toy")


def test_a_token_that_is_missing_is_asked_for(server: Server) -> None:
    server.token = "Bearer something"
    with pytest.raises(ClusterError, match="wants a token: set RAY_AUTH_MODE=token"):
        job_status(server.address, "toy")


def test_a_job_knows_its_id_however_it_was_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert own_job_id() is None
    config = {"runtime_env": {}, "metadata": {"job_submission_id": "rayjob-x7"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(config))
    assert own_job_id() == "rayjob-x7"


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "http://me:secret@head:8265"])
def test_an_address_for_jobs_is_http_and_holds_no_password(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNERY_JOBS_ADDRESS", address)
    with pytest.raises(SettingsError, match=r"ALIGNERY_JOBS_ADDRESS: .*http://host:8265") as error:
        Settings()
    assert "secret" not in str(error.value)


def test_a_jobs_address_ends_without_a_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNERY_JOBS_ADDRESS", "https://ray.example.org/team-a/")
    assert Settings().jobs_address == "https://ray.example.org/team-a"
