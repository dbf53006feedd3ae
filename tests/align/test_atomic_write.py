"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from align.atomic_write import atomic_path, copy_folder, write_atomically
from tests.umasks import RIGHTS, give_setgid, modes, umask


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


def make_private(folder: Path) -> None:
    """Fill a new folder as libraries do whose files only their owner can read."""
    Path(tempfile.mkdtemp(dir=folder.parent)).rename(folder)
    (folder / "inner").mkdir(mode=0o700)
    for file in (folder / "model.safetensors", folder / "inner" / "model.safetensors"):
        descriptor, name = tempfile.mkstemp(dir=folder)
        os.close(descriptor)
        Path(name).rename(file)


@pytest.mark.parametrize("value", RIGHTS)
def test_published_files_and_folders_have_the_rights_of_the_umask(
    value: int, tmp_path: Path
) -> None:
    file_mode, folder_mode = RIGHTS[value]
    with umask(value):
        with atomic_path(tmp_path / "entry") as partial:
            make_private(partial)
        write_atomically(tmp_path / "state.json", "{}")
        copy_folder(tmp_path / "entry", tmp_path / "copy")
    expected = {
        ".": folder_mode,
        "inner": folder_mode,
        "inner/model.safetensors": file_mode,
        "model.safetensors": file_mode,
    }
    assert modes(tmp_path / "entry") == modes(tmp_path / "copy") == expected
    assert modes(tmp_path)["state.json"] == file_mode
    assert {path.name for path in tmp_path.iterdir()} == {"entry", "copy", "state.json"}


def test_a_folder_whose_files_take_its_group_passes_it_on(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    group = give_setgid(shared)
    make_private(tmp_path / "source")
    with umask(0o002):
        copy_folder(tmp_path / "source", shared / "copy")
        with atomic_path(shared / "entry") as partial:
            make_private(partial)
    for name in ("copy", "entry"):
        assert {path.stat().st_gid for path in (shared / name).rglob("*")} == {group}
    assert modes(shared)["copy/inner"] == 0o2775


def test_a_program_stays_one_and_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch(mode=0o600)
    with umask(0o022), atomic_path(tmp_path / "entry") as partial:
        partial.mkdir()
        (partial / "program").touch(mode=0o700)
        (partial / "link").symlink_to(outside)
    assert modes(tmp_path / "entry")["program"] == 0o744
    assert modes(tmp_path)["outside"] == 0o600
