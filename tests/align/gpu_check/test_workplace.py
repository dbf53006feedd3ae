"""A home for the time of the checks."""

import os
from pathlib import Path

import pytest

from align.gpu_check.workplace import temporary_home
from align.sources import cache_folder


def test_files_of_checks_are_gone_and_models_are_shared(home: Path) -> None:
    models = (home / "models").resolve()
    with temporary_home() as folder:
        inside = Path(os.environ["ALIGNERY_HOME"])
        assert inside.parent == folder and inside != home
        assert cache_folder("models").resolve() == models
        (inside / "evaluations").mkdir()
    assert os.environ["ALIGNERY_HOME"] == str(home)
    assert not folder.exists() and models.is_dir()
    assert [path.name for path in home.iterdir()] == ["models"]


def test_the_home_is_restored_after_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("ALIGNERY_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match="broken"), temporary_home():
        raise ValueError("broken")
    assert "ALIGNERY_HOME" not in os.environ
