"""The umasks that people use, and the rights that each gives to new files and folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Umask: modes of a file and of a folder.
RIGHTS = {
    0o022: (0o644, 0o755),
    0o027: (0o640, 0o750),
    0o077: (0o600, 0o700),
    0o002: (0o664, 0o775),
}


@contextmanager
def umask(value: int) -> Iterator[None]:
    """This process's umask within the block."""
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def modes(root: Path) -> dict[str, int]:
    """The mode of each file and folder below `root` and of `root` itself, by relative path."""
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode)
        for path in (root, *sorted(root.rglob("*")))
    }


def give_setgid(folder: Path) -> int:
    """Make new files in `folder` get its group, another one where that is permitted; its id."""
    if os.geteuid() == 0:
        os.chown(folder, -1, os.getegid() + 4242)
    folder.chmod(0o2775)
    return folder.stat().st_gid
