"""What a submitted job takes along, and what must not travel."""

from __future__ import annotations

import shlex
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

import alignery
from align.recipe import parse_recipe
from cluster.errors import SettingsError
from cluster.settings import Settings
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
