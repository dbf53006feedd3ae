"""What `alignery cluster check` finds out."""

from pathlib import Path

from cluster.check import Check, check_all
from cluster.settings import Settings


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(home=tmp_path / "file" / "home", ray_address="127.0.0.1:1")
    assert [one.ok for one in check_all(settings)] == [False] * 4
    assert all(isinstance(one, Check) and one.detail for one in check_all(settings))
