"""What a submitted job takes along, and what must not travel."""

from __future__ import annotations

import os
import shlex
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

import alignery
from align.recipe import parse_recipe
from cluster.errors import ClusterError, SettingsError
from cluster.settings import Settings
from cluster.tree import LIMIT_BYTES, Tree, check_size, working_tree, write_package
from sweeps.search_options import SearchOptions
from sweeps.submission import RECIPE_FILE, entrypoint, prepare
from tests.sweeps.submitted_project import (
    DATABASE,
    PASSWORD,
    RECIPE,
    own_data_and_rewards,
)


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
