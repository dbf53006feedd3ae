"""What is replaced in Ray Tune, and that the installed version still has it."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import class_cache
from ray.tune.execution.tune_controller import TrialRunnerWrapper, TuneController

from cluster.compat.ray_tune import (
    ERROR_HOOKS,
    end_workers,
    start_workers_plainly,
    translate_errors,
)


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
