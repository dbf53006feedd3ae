"""The public CI calls what exists, and may read the repository and nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
WORKFLOW = (GITHUB / "workflows/ci.yml").read_text(encoding="utf-8")
CI: dict[str, Any] = yaml.safe_load(WORKFLOW)
JOBS: dict[str, dict[str, Any]] = CI["jobs"]
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))


def steps(job: str) -> list[dict[str, Any]]:
    return list(JOBS[job]["steps"])


def called(job: str) -> list[str]:
    """The make targets that a job runs, in order."""
    return [
        target
        for step in steps(job)
        for target in re.findall(r"\bmake ([a-z]+)", step.get("run", ""))
    ]


def test_jobs_call_targets_of_the_makefile_and_nothing_else() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    for job in JOBS:
        runs = [step for step in steps(job) if "run" in step]
        assert len(called(job)) == len(runs)
        assert called(job)[0] == "setup"
        assert set(called(job)) <= targets


def test_it_runs_what_the_local_run_does() -> None:
    local = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert {"setup", "lint", "test", "chaos"} <= {one for job in JOBS for one in called(job)}
    assert "for target in lint test; do" in local and "make chaos" in local


def test_it_may_read_the_repository_and_nothing_else() -> None:
    assert CI["permissions"] == {"contents": "read"}
    assert not [job for job, config in JOBS.items() if "permissions" in config]
    assert "secrets." not in WORKFLOW and "pull_request_target" not in WORKFLOW


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_and_pins_its_actions(job: str) -> None:
    assert 0 < JOBS[job]["timeout-minutes"] <= 120
    actions = [step["uses"] for step in steps(job) if "uses" in step]
    assert actions and all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", one) for one in actions)
    checkout = next(step for step in steps(job) if step.get("uses", "").startswith("actions/ch"))
    assert checkout["with"]["persist-credentials"] is False


def test_its_python_is_the_oldest_that_is_supported() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    versions = {
        step["with"]["python-version"]
        for job in JOBS
        for step in steps(job)
        if "setup-python" in step.get("uses", "")
    }
    assert all(f'requires-python = ">={version}"' in project for version in versions)


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one_that_github_takes(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(content)
    kinds = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    assert {part["type"] for part in content["body"]} <= kinds
    questions = [part for part in content["body"] if part["type"] != "markdown"]
    names = [part["id"] for part in questions]
    assert len(set(names)) == len(names) > 0
    assert all(part["attributes"]["label"] for part in questions)
