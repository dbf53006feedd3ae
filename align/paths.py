"""Paths that people type: what cannot be a path names no file, and is no error."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path with `~` as its user's home; unchanged if there is no such user."""
    with suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def names_file(path: str | Path) -> bool:
    """Whether `path` is a file. False, too, for a text that is too long for a path."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def names_folder(path: str | Path) -> bool:
    """Whether `path` is a folder. False, too, for a text that is too long for a path."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False
