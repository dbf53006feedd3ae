"""What `cluster.compat` depends on in the installed Ray: an update of Ray fails here first."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.serve._private import replica
from ray.tune.execution import class_cache
from ray.tune.execution.tune_controller import TrialRunnerWrapper, TuneController

from cluster.compat import RAY, ray_core
from cluster.compat.ray_serve import listen_on_node_address
from cluster.compat.ray_tune import (
    ERROR_HOOKS,
    end_workers,
    start_workers_plainly,
    translate_errors,
)


def test_the_installed_ray_is_the_version_that_the_modules_were_written_for() -> None:
    advice = "read what each module of cluster.compat says, then change cluster.compat.RAY"
    assert ray.__version__.startswith(f"{RAY}."), advice


def test_workers_start_without_a_runtime_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[type] = []
    monkeypatch.setattr(ray, "remote", lambda kind: registered.append(kind) or kind.__name__)
    controller = SimpleNamespace(_tune_controller=SimpleNamespace(_class_cache=None))
    start_workers_plainly(controller)
    actors = controller._tune_controller._class_cache
    assert [actors.get(kind) for kind in (int, str, int)] == ["int", "str", "int"]
    assert registered == [int, str]


def test_tune_still_sends_the_credentials_of_the_environment() -> None:
    """If this fails, `start_workers_plainly` may have become unnecessary."""
    assert "AWS_SECRET_ACCESS_KEY" in class_cache.ENV_VARS_TO_PROPAGATE
    assert "runtime_env=runtime_env" in inspect.getsource(class_cache._ActorClassCache.get)


def test_errors_are_translated_before_tune_handles_them() -> None:
    received: list[tuple[Any, ...]] = []
    manager = SimpleNamespace(
        _actor_task_failed=lambda task, exception: received.append((task, exception)),
        _actor_start_failed=lambda tracked_actor, exception: received.append(
            (tracked_actor, exception)
        ),
        cleanup=lambda: received.append(("cleanup",)),
    )
    controller = SimpleNamespace(_tune_controller=SimpleNamespace(_actor_manager=manager))
    translate_errors(controller, lambda error: RuntimeError(f"was {error}"))
    manager._actor_task_failed("task", exception=ValueError("a"))
    manager._actor_start_failed(tracked_actor="actor", exception=ValueError("b"))
    end_workers(controller)
    assert [str(part) for entry in received for part in entry] == [
        "task", "was a", "actor", "was b", "cleanup",
    ]  # fmt: skip


def test_tune_has_the_names_that_are_replaced() -> None:
    for name in ERROR_HOOKS:
        assert "exception" in inspect.signature(getattr(RayActorManager, name)).parameters
    assert "self" in inspect.signature(RayActorManager.cleanup).parameters
    source = inspect.getsource(TuneController)
    assert "self._actor_manager = RayActorManager(" in source
    assert "self._class_cache = _ActorClassCache()" in source
    assert "self._class_cache.get(trainable_cls)" in source
    assert "self._tune_controller = " in inspect.getsource(TrialRunnerWrapper.__init__)


def test_tune_still_ends_the_run_for_other_errors_of_ray() -> None:
    """If this fails, `translate_errors` may have become unnecessary."""
    assert not issubclass(OutOfMemoryError, RayActorError)
    task = SimpleNamespace(_tracked_actor=None)
    with pytest.raises(RuntimeError, match="unexpected"):
        RayActorManager._actor_task_failed(None, task, OutOfMemoryError("killed"))  # type: ignore[arg-type]


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


def test_a_replica_opens_its_port_by_the_function_that_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = inspect.getsource(replica)
    assert 'add_port_to_grpc_server(self._server, "[::]:0")' in source
    opened = []
    monkeypatch.setattr(
        replica, "add_port_to_grpc_server", lambda server, address: opened.append(address)
    )
    for host in ("10.0.0.7", "fd00::7"):
        monkeypatch.setattr(ray.util, "get_node_ip_address", lambda host=host: host)
        with monkeypatch.context() as patch:
            patch.setattr(replica, "add_port_to_grpc_server", replica.add_port_to_grpc_server)
            listen_on_node_address()
            replica.add_port_to_grpc_server("server", "[::]:0")
    assert opened == ["10.0.0.7:0", "[fd00::7]:0"]
