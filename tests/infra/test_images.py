"""What can be known of the images without building them."""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "infra" / "docker"
BASES = {
    "gpu": "rayproject/ray:2.60.0-py311-cu130",
    "cpu": "rayproject/ray:2.60.0-py311-cpu",
}
Instruction = tuple[str, str]


def instructions(name: str) -> list[Instruction]:
    """(instruction, what it says) of a Dockerfile, continued lines joined."""
    lines = (DOCKER / f"Dockerfile.{name}").read_text(encoding="utf-8").splitlines()
    text = "\n".join(one for one in lines if not one.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [(one.split(None, 1)[0], one.split(None, 1)[1]) for one in joined.splitlines() if one]


def said(name: str, instruction: str) -> list[str]:
    return [what for kind, what in instructions(name) if kind == instruction]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path of the context out: it, or a folder above it."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    parts = path.split("/")
    for pattern in (one for one in lines if one and not one.startswith("#")):
        anywhere = pattern.startswith("**/")
        for at, part in enumerate(parts):
            one = part if anywhere else "/".join(parts[: at + 1])
            if fnmatch.fnmatchcase(one, pattern.removeprefix("**/")):
                return True
    return False


@pytest.mark.parametrize("name", BASES)
def test_the_base_is_rays_own_image_of_one_exact_version(name: str) -> None:
    assert said(name, "FROM") == [BASES[name]]
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None and f":{pinned.group(1)}-" in BASES[name]


@pytest.mark.parametrize("name", BASES)
def test_what_is_copied_is_there_and_not_ignored(name: str) -> None:
    for what in said(name, "COPY"):
        *sources, _target = [one for one in shlex.split(what) if not one.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source == "." or not ignored(source), source


@pytest.mark.parametrize("name", BASES)
def test_every_package_comes_from_the_constraints(name: str) -> None:
    commands = [one for what in said(name, "RUN") for one in re.split(r"&&|;", what)]
    installs = [one for one in commands if "pip install" in one]
    assert len(installs) == 4
    assert all("--constraint constraints.txt" in one for one in installs)


@pytest.mark.parametrize("name", BASES)
def test_it_does_not_run_as_root_and_carries_no_secret(name: str) -> None:
    assert said(name, "USER")[-1] == "1000:100"
    text = (DOCKER / f"Dockerfile.{name}").read_text(encoding="utf-8")
    assert "ADD " not in text and ":latest" not in text and "sudo" not in text
    assert not re.search(r"(?i)(password|token|secret)\s*=", text)
    for what in said(name, "RUN"):
        assert "apt-get install" not in what or "rm -rf /var/lib/apt/lists" in what


@pytest.mark.parametrize("name", BASES)
def test_the_weights_are_unpacked_where_the_pods_look_for_them(name: str) -> None:
    runs = " ".join(said(name, "RUN"))
    assert "model_source('smollm2-135m-instruct')" in runs
    assert "ALIGNERY_HOME=/home/ray/.alignery" in " ".join(said(name, "ENV"))
    manifest = (ROOT / "infra" / "kuberay" / "cluster" / "raycluster.yaml").read_text()
    assert "ALIGNERY_HOME" not in manifest and "/home/ray" not in manifest


@pytest.mark.parametrize("name", BASES)
def test_the_line_that_reads_the_projects_dependencies_works(name: str) -> None:
    (line,) = [one for one in said(name, "RUN") if "tomllib" in one]
    script = shlex.split(line.partition(">")[0])[2]
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["dependencies"]) < set(printed)
    assert any(one.startswith("psycopg") for one in printed)


def test_a_t4_needs_code_for_its_capability() -> None:
    """The build of the GPU image fails if torch has none."""
    assert any("sm_75" in one for one in said("gpu", "RUN"))


def test_the_gpu_image_has_what_triton_compiles_with() -> None:
    """Its kernels are started by C code that is compiled on the machine, beside Python.h."""
    runs = said("gpu", "RUN")
    (installed,) = [one for one in runs if "apt-get install" in one]
    assert {"gcc", "libc6-dev"} <= set(shlex.split(installed))
    (checked,) = [one for one in runs if "Python.h" in one]
    ran = subprocess.run([sys.executable, *shlex.split(checked)[1:]], capture_output=True)
    header = Path(sysconfig.get_path("include"), "Python.h")
    assert (ran.returncode == 0) is header.is_file()


@pytest.mark.parametrize(
    "path", [".env", ".env.production", ".git/config", ".venv/bin/python", "align/__pycache__/x"]
)
def test_nothing_private_is_in_the_context(path: str) -> None:
    assert ignored(path)


@pytest.mark.parametrize("path", ["align/base.py", "pyproject.toml", "README.md", "LICENSE"])
def test_all_of_the_project_is(path: str) -> None:
    assert not ignored(path)
