"""A home folder for the time of the checks, so that they leave nothing in the user's own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from align.sources import cache_folder

_HOME = "ALIGNERY_HOME"
_MODELS = "models"


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A new ALIGNERY_HOME for this process and those that it starts; yields a folder in it.

    Unpacked base models are those of the user's home.
    """
    models = cache_folder(_MODELS).absolute()
    models.mkdir(parents=True, exist_ok=True)
    before = os.environ.get(_HOME)
    with tempfile.TemporaryDirectory(prefix="alignery-check-") as folder:
        home = Path(folder, "home")
        home.mkdir()
        (home / _MODELS).symlink_to(models)
        os.environ[_HOME] = str(home)
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ[_HOME]
            else:
                os.environ[_HOME] = before
