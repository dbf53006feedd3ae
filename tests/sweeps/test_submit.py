"""`alignery sweep submit` and `logs`: what travels, what must not, and Ray's own jobs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from fake_dashboard import fake_dashboard
from typer.testing import CliRunner

import alignery
from align.recipe import parse_recipe
from cluster import jobs
from cluster.errors import ClusterError, SettingsError
from cluster.jobs import RayJob, Submission
from cluster.settings import Settings
from cluster.simulated import simulated_head
from cluster.tree import LIMIT_BYTES, Tree, check_size, working_tree, write_package
from sweeps.search_options import SearchOptions
from sweeps.submission import RECIPE_FILE, entrypoint, prepare

PASSWORD = "correct-horse-battery"
DATABASE = f"postgresql://me:{PASSWORD}@db.example.com/alignery"

RECIPE = {
    "name": "toy",
    "base": "tiny-random",
    "data": {"task": "arithmetic", "train": 8, "validation": 4, "test": 4},
    "stages": {
        "sft": {
            "method": "sft",
            "learning_rate": {"loguniform": [1e-4, 1e-2], "default": 1e-3},
            "max_steps": 2,
            "objective": "accuracy",
            "sweep": {"trials": 1},
        }
    },
}


@pytest.fixture
def project(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with a recipe, code, and things that must not travel."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "toy.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "helper.py").write_text("WORD = 'one'\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / ".env").write_text(f"ALIGNERY_DATABASE_URL={DATABASE}\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    (folder / "untracked.py").write_text("")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ALIGNERY_JOBS_ADDRESS", raising=False)
    monkeypatch.setenv("ALIGNERY_HOME", str(settings.home))
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(alignery.app, ["sweep", *arguments])


def packed(project: Path, recipe: dict[str, Any] | None = None, **options: Any) -> Any:
    """(submission, tree, the package's names)."""
    package = project.parent / "package.zip"
    loaded = parse_recipe(recipe or RECIPE, folder=project)
    submission, tree = prepare(
        Settings(_env_file=None), loaded, SearchOptions(), package, **options
    )
    with zipfile.ZipFile(package) as file:
        return submission, tree, {one: file.read(one) for one in file.namelist()}


# What travels.


def test_tracked_files_travel_as_they_are_now(project: Path) -> None:
    (project / "helper.py").write_text("WORD = 'two'\n")
    _, tree, files = packed(project)
    assert set(files) == {"helper.py", "run.sh", "toy.yaml", RECIPE_FILE}
    assert files["helper.py"] == b"WORD = 'two'\n"
    assert [str(one) for one in tree.left_out] == ["untracked.py"]


def test_from_a_subfolder_the_whole_checkout_travels(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    assert "helper.py" in packed(project)[2]


def test_without_git_data_and_caches_stay(tmp_path: Path) -> None:
    for name in (
        "a.py", "b/c.py", ".hidden/x.py", "venv/lib/x.py", "b/__pycache__/c.pyc", "data/x.txt",
        "rows.jsonl", "model.safetensors", ".env.local", "my.key",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    tree = working_tree(tmp_path)
    assert [str(one) for one in tree.files] == ["a.py", "b/c.py"]
    assert tree.left_out is None


def test_a_home_folder_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ClusterError, match="no project"):
        working_tree(tmp_path)


def test_a_large_tree_is_refused_with_what_is_large(tmp_path: Path) -> None:
    for name, size in (("small.py", 10), ("big.bin", 300_000), ("bigger.bin", 900_000)):
        (tmp_path / name).write_bytes(b"0" * size)
    tree = Tree(tmp_path, tuple(working_tree_names(tmp_path)))
    check_size(tree, limit=2_000_000)
    with pytest.raises(ClusterError, match=r"1\.1 MiB in 3 files.*bigger\.bin 0\.9 MiB, big\.bin"):
        check_size(tree, limit=1_000_000)
    assert LIMIT_BYTES <= 100 * 2**20  # what Ray's dashboard takes


def working_tree_names(folder: Path) -> list[Any]:
    from pathlib import PurePosixPath

    return sorted(PurePosixPath(one.name) for one in folder.iterdir())


def test_one_content_is_one_package(project: Path, tmp_path: Path) -> None:
    tree = working_tree(project)
    first, second = tmp_path / "1.zip", tmp_path / "2.zip"
    write_package(first, tree, {"a": b"1"})
    os.utime(project / "helper.py", (1, 1))
    write_package(second, tree, {"a": b"1"})
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as file:
        assert file.getinfo("run.sh").external_attr >> 16 & 0o111


def test_the_images_own_code_runs_with_no_ship(project: Path) -> None:
    _, tree, files = packed(project, ship=False)
    assert tree is None and set(files) == {RECIPE_FILE}


def test_the_recipe_and_its_data_and_rewards_can_be_had_elsewhere(
    project: Path, settings: Settings
) -> None:
    _, _, files = packed(project, own_data_and_rewards(project))
    assert "rows.jsonl" not in files  # in storage
    there = files[RECIPE_FILE].decode()
    assert str(project) not in there
    assert "alignery://datasets/" in there and "alignery://code/" in there
    assert list((settings.home / "storage" / "datasets").iterdir())


def own_data_and_rewards(project: Path) -> dict[str, Any]:
    """A recipe on rows and with a reward function that lie in the project."""
    rows = [{"prompt": f"{n} + {n} =", "completion": str(2 * n)} for n in range(40)]
    (project / "rows.jsonl").write_text("\n".join(json.dumps(one) for one in rows))
    (project / "rewards.py").write_text("def short(completion):\n    return -len(completion)\n")
    git(project, "add", "--all")
    stage = {
        **RECIPE["stages"]["sft"],
        "objective": "reward",
        "rewards": {"short": {"python": "rewards:short", "weight": 1.0}},
    }
    data = {"path": "rows.jsonl", "train": 8, "validation": 4, "test": 4}
    return {**RECIPE, "data": data, "stages": {"sft": stage}}


# What must not travel.


def test_needed_variables_are_names_and_never_values(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNERY_DATABASE_URL", DATABASE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIK7MDENGbPxRfiCY")
    submission, _, files = packed(project, secrets=["AWS_SECRET_ACCESS_KEY"])
    everything = repr(submission).encode() + b"".join(files.values())
    assert b"ALIGNERY_DATABASE_URL AWS_SECRET_ACCESS_KEY" in everything
    assert PASSWORD.encode() not in everything and b"wJalr" not in everything
    assert ".env" not in files


def test_a_file_with_the_databases_password_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNERY_DATABASE_URL", DATABASE)
    (project / "helper.py").write_text(f"URL = {DATABASE!r}\n")
    with pytest.raises(SettingsError, match=r"helper\.py contains the value of ALIGNERY_DATABASE"):
        packed(project)


@pytest.mark.parametrize(
    "line", [f"ALIGNERY_DATABASE_URL={DATABASE}", "HF_TOKEN=hf_abc", "MY_API_KEY=x", "X=s3://k:v@b"]
)
def test_secrets_in_an_environment_file_are_refused(project: Path, line: str) -> None:
    (project / "job.env").write_text(f"HF_HUB_OFFLINE=1\n{line}\n")
    with pytest.raises(SettingsError, match=f"{line.partition('=')[0]} looks like a secret") as no:
        packed(project, env_file=project / "job.env")
    assert "--secret" in str(no.value) and line.partition("=")[2] not in str(no.value)


def test_other_variables_are_taken_along(project: Path) -> None:
    (project / "job.env").write_text("# the hub is not asked\nHF_HUB_OFFLINE=1\nA='$B c'\n")
    submission, _, _ = packed(project, env_file=project / "job.env")
    assert submission.environment == {"HF_HUB_OFFLINE": "1", "A": "$B c"}
    with pytest.raises(SettingsError, match="--env-file: no file"):
        packed(project, env_file=project / "nowhere")


def test_a_value_given_as_the_name_of_a_secret_is_not_repeated(project: Path) -> None:
    with pytest.raises(SettingsError, match="takes a variable's name") as error:
        packed(project, secrets=[f"DB={PASSWORD}"])
    assert PASSWORD not in str(error.value)


# The command that runs there.


def test_every_option_reaches_sweep_run() -> None:
    options = SearchOptions(
        only=["sft", "dpo"],
        from_="sft",
        fresh=True,
        promote=True,
        trials=4,
        cpus_per_trial=2,
        max_concurrent=8,
        accelerator="T4",
        label=["ray.io/market-type=spot"],
        grow=True,
    )
    words = shlex.split(entrypoint(options, []))
    assert words[:5] == ["exec", "alignery", "sweep", "run", RECIPE_FILE]
    assert words.count("--only") == 2 and words[words.index("--label") + 1].endswith("=spot")
    command = alignery.load_command("sweep").commands["run"]
    known = {flag for one in command.params for flag in one.opts}
    assert {one for one in words if one.startswith("--")} <= known
    assert SearchOptions().arguments() == []


def test_both_commands_have_the_same_options_of_a_search() -> None:
    commands = alignery.load_command("sweep").commands
    run, submit = (
        {
            option.name: (option.opts, option.secondary_opts, option.default, option.help)
            for option in commands[name].params
        }
        for name in ("run", "submit")
    )
    for name in (field.name for field in fields(SearchOptions)):
        assert run[name] == submit[name]


def test_the_job_names_all_variables_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "alignery").write_text("#!/bin/sh\necho ran $*\n")
    (tmp_path / "alignery").chmod(0o755)
    command = entrypoint(SearchOptions(trials=2), ["FIRST", "SECOND", "THIRD"])
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SECOND": "s3cret"}

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command], env={**environment, **more}, capture_output=True, text=True
        )

    refused = run(THIRD="")
    assert refused.returncode == 2 and "s3cret" not in refused.stderr
    assert "not set on the cluster: FIRST THIRD;" in refused.stderr
    assert run(FIRST="1", THIRD="3").stdout == f"ran sweep run {RECIPE_FILE} --trials 2\n"


def test_the_same_recipe_and_options_have_the_same_name(project: Path) -> None:
    recipe = own_data_and_rewards(project)
    first = packed(project, recipe)[0].name
    (project / "helper.py").write_text("WORD = 'two'\n")
    assert packed(project, recipe)[0].name == first
    assert first.startswith("toy-")
    assert packed(project, {**recipe, "seed": 1})[0].name != first


# The commands.


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


# Ray's own jobs.


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


@pytest.mark.chaos
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


@pytest.mark.chaos
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
        "PYTHONPATH": str(Path(alignery.__file__).parent),
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
