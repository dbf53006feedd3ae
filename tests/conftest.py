"""What all tests share: a home of their own, one thread for each process, quiet libraries."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_HOME = tempfile.TemporaryDirectory(prefix="alignery-tests-")
# Before anything imports torch or Ray; subprocesses and Ray's workers inherit it.
os.environ.update(
    ALIGNERY_HOME=_HOME.name,
    HF_HUB_OFFLINE="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    OMP_NUM_THREADS="1",
    RAY_AUTH_MODE="disabled",
    RAY_USAGE_STATS_ENABLED="0",
    TOKENIZERS_PARALLELISM="false",
)
for _name in ("ALIGNERY_DATABASE_URL", "ALIGNERY_STORAGE", "ALIGNERY_RAY_ADDRESS", "ALIGNERY_GPU"):
    os.environ.pop(_name, None)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home folder; base models stay shared, since unpacking one takes seconds."""
    shared = Path(_HOME.name) / "models"
    shared.mkdir(exist_ok=True)
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "models").symlink_to(shared)
    monkeypatch.setenv("ALIGNERY_HOME", str(folder))
    yield folder
