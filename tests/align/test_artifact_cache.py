"""The cache of prepared files that a process shares: none unless one is installed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from align.artifact_cache import Kind, NoArtifactCache, install, shelf


class Folder:
    """A cache of files in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fetch(self, kind: Kind, key: str, target: Path) -> bool:
        file = self.path / f"{kind}-{key}"
        return file.exists() and bool(shutil.copy(file, target))

    def offer(self, kind: Kind, key: str, path: Path) -> None:
        shutil.copy(path, self.path / f"{kind}-{key}")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = shelf()
    yield
    install(before)


def test_nothing_is_shared_by_default(tmp_path: Path) -> None:
    install(NoArtifactCache())
    (tmp_path / "rows").write_text("prepared")
    shelf().offer("prepared", "key", tmp_path / "rows")
    assert not shelf().fetch("prepared", "key", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_what_is_installed_is_what_the_process_uses(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("prepared")
    (tmp_path / "shelf").mkdir()
    install(Folder(tmp_path / "shelf"))
    shelf().offer("prepared", "key", tmp_path / "rows")
    assert shelf().fetch("prepared", "key", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "prepared"
    assert not shelf().fetch("reference", "key", tmp_path / "copy")
