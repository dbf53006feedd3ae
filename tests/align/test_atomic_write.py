"""Files and folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from align.atomic_write import atomic_path, write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    for text in ("first", "zweite Fassung: ü"):
        write_atomically(file, text)
        assert file.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_leaves_the_former_file_and_no_partial_file(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    write_atomically(file, "before")
    with pytest.raises(RuntimeError), atomic_path(file) as partial:
        partial.write_text("half")
        assert partial.parent == tmp_path and partial.name.startswith(".")
        raise RuntimeError
    assert file.read_text() == "before" and list(tmp_path.iterdir()) == [file]
    with pytest.raises(FileNotFoundError), atomic_path(file):
        pass  # nothing was written


def test_a_folder_appears_at_once_and_replaces_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    with atomic_path(folder) as partial:
        partial.mkdir()
        (partial / "rows").write_text("1")
        assert not folder.exists()
    with pytest.raises(OSError, match="not empty"), atomic_path(folder) as partial:
        partial.mkdir()
        (partial / "rows").write_text("2")
    assert (folder / "rows").read_text() == "1" and list(tmp_path.iterdir()) == [folder]
