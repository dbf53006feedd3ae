"""`alignery sweep submit` and `logs` with Ray's own jobs."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import yaml

from cluster import jobs
from cluster.settings import Settings
from cluster.simulated import simulated_head
from sweeps.submission import RECIPE_FILE
from tests.sweeps.submitted_project import DATABASE, PASSWORD, invoke, own_data_and_rewards

pytestmark = pytest.mark.chaos


@contextmanager
def head(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Ray's head in an environment of its own; gives the address of its jobs."""
    with mock.patch.dict(os.environ, environment), simulated_head(folder) as address:
        yield address


#: Stands in for the program: the jobs are Ray's, the sweep is not under test.
STUB = """#!/bin/sh
echo "ran $*"
python3 -c 'import helper; print("helper says", helper.WORD)'
case "$*" in *"--trials 7"*) echo waiting; exec sleep 300;; esac
"""


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A short path: Ray's sockets are far below it."""
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as name:
        yield Path(name)


def test_jobs_of_a_real_ray(
    project: Path, ray_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"ALIGNERY_DATABASE_URL": DATABASE, "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENG"}
    stub = project.parent / "bin" / "alignery"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)
    there = {"PATH": f"{stub.parent}:{os.environ['PATH']}", **secrets}
    with head(ray_folder, there) as address:
        _use(address, monkeypatch)
        told = _everything(address, ray_folder)
    assert "alignery sweep run" in told
    for value in (PASSWORD, *secrets.values()):
        assert value not in told


def _use(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNERY_JOBS_ADDRESS", address)
    done = invoke("submit", "toy.yaml", "--wait", "--secret", "AWS_SECRET_ACCESS_KEY")
    assert done.exit_code == 0, done.output
    assert f"ran sweep run {RECIPE_FILE}" in done.stdout and "helper says one" in done.stdout
    assert "SUCCEEDED" in done.stderr

    refused = invoke("submit", "toy.yaml", "--wait", "--secret", "NOT_THERE")
    assert refused.exit_code == 1 and "not set on the cluster: NOT_THERE;" in refused.stdout

    first = json.loads(invoke("submit", "toy.yaml", "--trials", "7", "--json").stdout)
    again = json.loads(invoke("submit", "toy.yaml", "--trials", "7", "--json").stdout)
    assert first["new"] and not again["new"] and again["id"] == first["id"]
    pieces = jobs.follow_logs(address, first["id"])
    assert any("waiting" in one for one in pieces)  # it runs; and a follower may leave
    pieces.close()
    assert "waiting" in invoke("logs", "toy").stdout
    assert jobs.stop_job(address, first["id"]).status == "STOPPED"
    after = json.loads(invoke("submit", "toy.yaml", "--trials", "7", "--json").stdout)
    assert after["new"] and after["id"] == f"{first['id']}-2"
    assert jobs.stop_unless_obeyed(address, after["id"], lambda: False, 0).status == "STOPPED"


def _everything(address: str, folder: Path) -> str:
    """All that Ray tells of its jobs, and all that it has written down."""
    from ray.job_submission import JobSubmissionClient

    client = JobSubmissionClient(address)
    listed = client.list_jobs()
    logs = [client.get_job_logs(one.submission_id) for one in listed if one.submission_id]
    files = [one for one in folder.rglob("logs/**/*") if one.is_file()]
    assert files
    written = [one.read_text(encoding="utf-8", errors="replace") for one in files]
    return "\n".join([*map(repr, listed), *logs, *written])


def test_a_stopped_job_that_is_submitted_again_goes_on_with_its_sweep(
    project: Path, settings: Settings, ray_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real program, driver and trials, on data and with a reward function of the project's.

    The sweep is stopped as soon as it has a trial, and the project's code is changed meanwhile.
    """
    from cluster.database import open_database
    from sweeps.run_store import launches
    from sweeps.sweep_store import sweeps

    (project / ".env").unlink()
    (project / "toy.yaml").write_text(yaml.safe_dump(own_data_and_rewards(project)))
    program = Path(sys.executable).parent
    there = {
        "PATH": f"{program}:{os.environ['PATH']}",
        "ALIGNERY_HOME": str(settings.home),
    }
    database = open_database(settings)
    with head(ray_folder, there) as address:
        monkeypatch.setenv("ALIGNERY_JOBS_ADDRESS", address)
        first = json.loads(invoke("submit", "toy.yaml", "--trials", "3", "--json").stdout)
        pieces = jobs.follow_logs(address, first["id"])
        assert any("trial 0" in one for one in pieces), jobs.job_logs(address, first["id"])
        pieces.close()
        assert jobs.stop_job(address, first["id"]).status in ("STOPPED", "FAILED")
        assert [one.state for one in sweeps(database)] == ["stopped"]
        (project / "helper.py").write_text("WORD = 'two'\n")
        done = invoke("submit", "toy.yaml", "--trials", "3", "--wait")
        assert done.exit_code == 0, done.output
    assert [(one.run, one.state) for one in sweeps(database)] == [(1, "finished")]
    assert [one.job_id for one in launches(database)] == [first["id"], f"{first['id']}-2"]
    database.close()
