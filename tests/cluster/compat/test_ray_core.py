"""What is replaced in Ray itself, and that the installed version still has it."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.compat import ray_core


def test_within_the_block_this_machine_is_127_0_0_1() -> None:
    code = (
        "import ray; from cluster.compat.ray_core import loopback\n"
        "with loopback(): print(ray.util.get_node_ip_address())"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(ray_core.__file__).parents[2]),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["127.0.0.1"], done.stderr


def test_processes_of_ray_get_a_session_of_their_own() -> None:
    from ray._private import services

    assert "process = ConsolePopen(" in inspect.getsource(services.start_ray_process)
    with ray_core.own_sessions():
        process = services.ConsolePopen([sys.executable, "-c", "input()"], stdin=-1)
    try:
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
    finally:
        process.communicate(b"\n")


def test_a_token_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    tokens = []
    for name in ("first", "second"):
        (tmp_path / name).write_text(name * 10, encoding="ascii")
        with monkeypatch.context() as patch:
            patch.delenv("RAY_AUTH_TOKEN", raising=False)
            patch.setenv("RAY_AUTH_MODE", "token")
            patch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / name))
            ray_core.reload_token()
            tokens.append(str(AuthenticationTokenLoader.instance().get_raw_token()))
    ray_core.reload_token()
    assert tokens == ["first" * 10, "second" * 10]


def test_the_address_is_written_where_ray_reads_it(tmp_path: Path) -> None:
    from ray._private.utils import read_ray_address

    ray_core.write_address("127.0.0.1:6379", tmp_path)
    assert read_ray_address(str(tmp_path)) == "127.0.0.1:6379"


def test_the_node_of_an_actor_comes_from_its_last_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import state

    assert next(iter(inspect.signature(state.actors).parameters)) == "actor_id"
    known = {"a": {"Address": {"NodeID": "n"}}, "b": {"Address": {"NodeID": ""}}}
    monkeypatch.setattr(state, "actors", lambda actor: known.get(actor))
    assert [ray_core.node_of_actor(actor) for actor in ("a", "b", "c")] == ["n", None, None]
