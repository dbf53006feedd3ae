"""The code and package versions that an adapter is trained with. Does not import torch."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("alignery", "torch", "transformers", "trl", "peft", "datasets", "accelerate")

_GIT_SECONDS = 2.0


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that training depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


@lru_cache(maxsize=1)
def code_commit() -> str | None:
    """The commit of the checkout that this code runs from, with `-dirty` if files were changed.

    ALIGNERY_COMMIT takes precedence if it is set. None outside a checkout.
    """
    if configured := os.environ.get("ALIGNERY_COMMIT"):
        return configured
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # an installed package can lie inside another's checkout
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *words: str) -> str:
    completed = subprocess.run(
        ["git", "-C", str(root), *words],
        capture_output=True,
        text=True,
        timeout=_GIT_SECONDS,
        check=True,
    )
    return completed.stdout.strip()
