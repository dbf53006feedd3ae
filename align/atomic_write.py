"""Files and folders that other processes see whole or not at all."""

from __future__ import annotations

import shutil
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
    partial file or folder after an error is deleted.
    """
    partial = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    try:
        yield partial
        partial.replace(target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            with suppress(OSError):
                partial.unlink()
