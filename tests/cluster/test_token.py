"""The token that this machine has for a cluster, and that of a local Ray."""

import os
import re
import stat
from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.token import Token, _exposed, local_token, own_token
from tests.umasks import RIGHTS, umask


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "token"
    made.write_text("secret\n")
    made.chmod(0o600)
    return made


def test_ray_s_order_of_places(file: Path, tmp_path: Path) -> None:
    assert own_token({}, tmp_path) is None
    (tmp_path / ".ray").mkdir()
    default = tmp_path / ".ray" / "auth_token"
    default.write_text("default")
    default.chmod(0o600)
    assert own_token({}, tmp_path) == Token("default", str(default))
    named = {"RAY_AUTH_TOKEN_PATH": str(file)}
    assert own_token(named, tmp_path) == Token("secret", "RAY_AUTH_TOKEN_PATH")
    given = {**named, "RAY_AUTH_TOKEN": " given "}
    assert own_token(given, tmp_path) == Token("given", "RAY_AUTH_TOKEN")
    assert own_token({**given, "RAY_AUTH_MODE": "disabled"}, tmp_path) is None


def test_a_token_is_not_printed() -> None:
    assert "secret" not in repr(Token("secret", "RAY_AUTH_TOKEN"))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602])
def test_a_file_that_others_can_use_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(ClusterError, match=rf"\(mode {mode:o}\); chmod 600 it") as error:
        own_token({"RAY_AUTH_TOKEN_PATH": str(file)})
    assert "secret" not in str(error.value)


def test_a_file_of_another_user_is_refused() -> None:
    assert "belongs to user 1001" in _exposed(0o100600, owner=1001, user=1000)
    assert _exposed(0o100600, owner=1000, user=1000) == ""
    # A Secret that Kubernetes mounts: root's, and the pod's group reads it.
    assert _exposed(0o100440, owner=0, user=1000) == ""
    assert "chmod" in _exposed(0o100460, owner=0, user=1000)
    assert "chmod" in _exposed(0o100644, owner=0, user=1000)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b" \n", "the file is empty"), (b"\xff\xfe", "not a token")],
)
def test_a_file_without_a_token_is_refused(file: Path, content: bytes | None, said: str) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    with pytest.raises(ClusterError, match=f"^RAY_AUTH_TOKEN_PATH={re.escape(str(file))}: {said}"):
        own_token({"RAY_AUTH_TOKEN_PATH": str(file)})


def test_the_home_of_nobody_has_no_token() -> None:
    with pytest.raises(ClusterError, match=r"^RAY_AUTH_TOKEN_PATH=~nobody-here/token: No such"):
        own_token({"RAY_AUTH_TOKEN_PATH": "~nobody-here/token"})


def test_a_folder_is_no_token(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="not a file"):
        own_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path)})


def test_a_mode_that_ray_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="RAY_AUTH_MODE=on: expected token or disabled"):
        own_token({"RAY_AUTH_MODE": "on"}, tmp_path)


def test_each_local_ray_has_a_token_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "theirs")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with local_token(tmp_path / name) as file:
            made.append(file.read_text())
            assert file.stat().st_mode & 0o777 == 0o600
            assert own_token(os.environ) == Token(made[-1], "RAY_AUTH_TOKEN_PATH")
            assert os.environ["RAY_AUTH_MODE"] == "token"
        assert own_token(os.environ) == Token("theirs", "RAY_AUTH_TOKEN")
        assert "RAY_AUTH_MODE" not in os.environ
    assert len(set(made)) == 2 and all(len(one) == 64 for one in made)


@pytest.mark.parametrize("value", RIGHTS)
def test_a_local_rays_token_is_its_users_whatever_the_umask(value: int, tmp_path: Path) -> None:
    with umask(value), local_token(tmp_path) as file:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
