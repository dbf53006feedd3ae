"""The working tree that travels with a job, and its package."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import ClusterError
from cluster.tree import LIMIT_BYTES, Tree, check_size, working_tree, write_package
from tests.sweeps.submitted_project import write_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git checkout with a recipe, code, and things that must not travel."""
    write_project(tmp_path / "project")
    return tmp_path / "project"


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
