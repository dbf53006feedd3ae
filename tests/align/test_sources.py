"""Where a base's files come from, and what is said of a base that is not there."""

from pathlib import Path

import pytest

from align.errors import ModelError
from align.sources import TINY, cache_folder, check_base, local_folder, on_hub


def test_caches_lie_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path))
    assert cache_folder("prepared") == tmp_path / "prepared"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ALIGNERY_HOME", "")
    assert cache_folder("prepared") == tmp_path / ".alignery" / "prepared"
    monkeypatch.setenv("ALIGNERY_HOME", "relative?1")
    monkeypatch.chdir(tmp_path)
    assert cache_folder("prepared") == tmp_path / "relative?1" / "prepared"
    monkeypatch.delenv("ALIGNERY_HOME")
    assert cache_folder("prepared") == tmp_path / ".alignery" / "prepared"


def test_a_folder_is_told_from_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_folder(str(tmp_path)) == tmp_path
    assert local_folder("nobody/nothing") is None
    assert on_hub("nobody/nothing")
    assert not on_hub(TINY) and not on_hub(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nobody" / "nothing").mkdir(parents=True)
    assert not on_hub("nobody/nothing")


@pytest.mark.parametrize("ref", ["./nowhere", "/nowhere/at/all", "~/nowhere", "~nobody-here/x"])
def test_a_path_without_a_folder_is_no_hub_id(ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    with pytest.raises(ModelError, match=f"base '{ref}': no such folder. Allowed: smollm2"):
        on_hub(ref)


def test_a_text_that_is_too_long_for_a_path_is_no_folder() -> None:
    assert local_folder("x" * 300) is None


def test_a_base_is_checked_before_it_is_loaded(tmp_path: Path) -> None:
    check_base(TINY)
    with pytest.raises(ModelError, match="in this folder"):
        check_base(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    check_base(str(tmp_path))


def test_a_hub_id_is_asked_for_unless_the_hub_is_left_out() -> None:
    check_base("nobody/nothing", hub=False)
    with pytest.raises(ModelError, match="cannot be reached: it is not in the local cache, and HF"):
        check_base("nobody/nothing")
