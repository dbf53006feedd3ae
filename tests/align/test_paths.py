"""What people type as a path, even if it can be none."""

from pathlib import Path

import pytest

from align.paths import expanded, names_file, names_folder


def test_a_users_home_is_put_in_where_there_is_such_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/base") == Path("/home/me/base")
    assert expanded("in/the~middle") == Path("in/the~middle")
    assert expanded("~no-such-user/base") == Path("~no-such-user/base")


@pytest.mark.parametrize("text", ["x" * 300, "no\0path", "", "nowhere"])
def test_what_can_be_no_path_is_neither_file_nor_folder(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not names_file(text)
    assert names_folder(text) == (text == "")  # Path("") is the working directory


def test_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file?1").touch()
    assert names_file(tmp_path / "file?1") and not names_folder(tmp_path / "file?1")
    assert names_folder(tmp_path) and not names_file(tmp_path)
