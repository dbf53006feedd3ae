"""Files of rows that tests write, and what reading them says."""

from pathlib import Path

import pytest

from align.data.user_rows import Row, read_rows
from align.errors import DataError


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """A file of this content; text is written as UTF-8 with its own line ends."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows_of(folder: Path, name: str, content: str | bytes) -> list[Row]:
    return list(read_rows(written(folder, name, content)).values())


def refusal(path: Path) -> str:
    """The message that refuses the file: one line that begins with its path."""
    with pytest.raises(DataError) as caught:
        read_rows(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and len(message.splitlines()) == 1
    return message.removeprefix(f"{path}: ")
