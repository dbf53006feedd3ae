"""Files and folders that other processes see whole or not at all, with the rights of the umask."""

from __future__ import annotations

import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(file: Path, text: str) -> None:
    """Write a small text file in UTF-8; an existing file is replaced at once."""
    with atomic_path(file) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A new hidden path beside `target`, renamed to `target` at the end of the block.

    The block creates a file or a folder there. A file replaces an existing file. OSError if a
    folder is to replace a folder with content, or if nothing was created. What is left of the
    partial file or folder after an error is deleted. Other users get the rights that the umask
    gives them, whatever created the files.
    """
    partial = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    try:
        yield partial
        add_rights(partial)
        partial.replace(target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            with suppress(OSError):
                partial.unlink()


def add_rights(path: Path) -> None:
    """Add the rights that the umask gives to a file, or to a folder and all that is in it.

    safetensors and `tempfile` create files and folders that only their owner can read, so another
    user's process could not use what this user publishes. Rights beyond those of the umask stay.
    """
    file_rights = _rights_of_new_file(path.parent)
    folder_rights = file_rights | (file_rights & 0o444) >> 2  # who can read it can enter it
    for entry in (path, *path.rglob("*")):
        mode = entry.lstat().st_mode
        wanted = folder_rights if stat.S_ISDIR(mode) else file_rights
        if wanted & ~mode and not stat.S_ISLNK(mode):
            entry.chmod(stat.S_IMODE(mode) | wanted)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder's files to the new folder `target`, with the rights and group of new files.

    `shutil.copytree` would copy the rights, too, and take the setgid bit from folders.
    """
    target.mkdir()
    for entry in sorted(source.iterdir()):
        copy = copy_folder if entry.is_dir() else shutil.copyfile
        copy(entry, target / entry.name)


def _rights_of_new_file(folder: Path) -> int:
    """The mode of a file that is created in `folder` now.

    Reading the umask would change it for a moment, in all threads, and not show a folder's ACL.
    """
    probe = folder / f".rights-{uuid.uuid4().hex}"
    try:
        probe.touch(mode=0o666, exist_ok=False)
        return stat.S_IMODE(probe.stat().st_mode)
    finally:
        probe.unlink(missing_ok=True)
