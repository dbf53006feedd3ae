"""`alignery sweep submit` and `logs`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster import jobs
from cluster.jobs import RayJob, Submission
from cluster.settings import Settings
from tests.fake_dashboard import fake_dashboard
from tests.sweeps.submitted_project import (
    invoke,
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[Submission]:
    """A cluster that takes everything."""
    taken: list[Submission] = []

    def submit(address: str, submission: Submission) -> tuple[RayJob, bool]:
        new = submission.name not in [one.name for one in taken]
        taken.append(submission)
        return RayJob(submission.name, "toy", "PENDING", "", 1.0, None), new

    monkeypatch.setattr(jobs, "submit_job", submit)
    monkeypatch.setattr("sweeps.commands.submit.check_cluster", lambda *_: None)
    return taken


def test_a_cluster_that_lets_everybody_in_gets_nothing_unless_its_network_is_trusted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def submit(address: str, submission: Submission) -> tuple[RayJob, bool]:
        taken.append(submission.name)
        return RayJob(submission.name, "toy", "PENDING", "", 1.0, None), True

    monkeypatch.setattr(jobs, "submit_job", submit)
    with fake_dashboard() as cluster:
        cluster.ips = ["10.0.0.7"]
        options = ("submit", "toy.yaml", "--address", cluster.address)
        refused = invoke(*options)
        assert refused.exit_code == 2 and taken == []
        assert "can run code" in refused.stderr and "--trust-network" in refused.stderr
        assert invoke(*options, "--trust-network").exit_code == 0 and len(taken) == 1


def test_submit_says_what_travels_and_where_to_look(
    project: Path, server: list[Submission]
) -> None:
    result = invoke("submit", "toy.yaml", "--address", "http://127.0.0.1:8265", "--trials", "3")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{server[0].name}\n"
    assert "3 files" in result.stderr and "untracked.py" in result.stderr
    assert f"alignery sweep logs {server[0].name} --follow" in result.stderr
    again = invoke("submit", "toy.yaml", "--address", "http://127.0.0.1:8265", "--trials", "3")
    assert again.stdout == result.stdout and "is pending already" in again.stderr


def test_submit_in_json(
    project: Path, server: list[Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNERY_JOBS_ADDRESS", "http://127.0.0.1:8265/")
    result = invoke("submit", "toy.yaml", "--json", "--no-ship")
    told = json.loads(result.stdout)
    assert told["id"] == server[0].name and told["new"] and told["status"] == "PENDING"
    assert told["address"] == "http://127.0.0.1:8265"


@pytest.mark.parametrize("command", [["submit", "toy.yaml"], ["logs"]])
def test_without_an_address_it_says_what_to_set(project: Path, command: list[str]) -> None:
    result = invoke(*command)
    assert result.exit_code == 2
    assert "ALIGNERY_JOBS_ADDRESS" in result.stderr and "port-forward" in result.stderr


def test_nothing_is_sent_for_a_recipe_that_is_wrong(
    project: Path, server: list[Submission]
) -> None:
    result = invoke("submit", "toy.yaml", "--address", "http://127.0.0.1:8265", "--only", "stf")
    assert result.exit_code == 2 and "no stage 'stf'" in result.stderr
    result = invoke("submit", "nowhere.yaml", "--address", "http://127.0.0.1:8265")
    assert result.exit_code == 2 and "no recipe 'nowhere.yaml'" in result.stderr
    assert server == []


def test_the_check_of_gpus_is_named_where_it_never_passed(
    project: Path, server: list[Submission], settings: Settings
) -> None:
    submit = ("submit", "toy.yaml", "--address", "http://127.0.0.1:8265")
    assert "alignery gpu check" in invoke(*submit, "--accelerator", "T4").stderr
    assert "alignery gpu check" not in invoke(*submit).stderr  # perhaps there is no GPU at all
    file = settings.home / "gpu-check" / "T4.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"verdict": "PASS"}')
    assert "alignery gpu check" not in invoke(*submit, "--accelerator", "T4").stderr
