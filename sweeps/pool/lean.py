"""Has Ray Tune start workers that do not import it. Private names of Ray 2.60's controller.

Tune gives each worker a runtime environment of its own, so that none of the processes that Ray has
ready can be used, and sends objects of its own along with a configuration. Neither is needed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
from ray import tune

from sweeps.pool.actor import Actor

#: Configuration that is ours; Tune adds names of its own.
KEYS = ("stage", "job", "assignment", "measurement")


class Stand(tune.Trainable):
    """What Tune takes for the class of its workers. None is ever made."""


def without_tune(controller: Any, kind: type[Actor]) -> None:
    """Let `controller` start workers of this kind in place of those that it was given."""
    controller._class_cache = _Kind(kind)
    manager, schedule = controller._actor_manager, controller._schedule_trial_task
    add = manager.add_actor

    def add_actor(**arguments: Any) -> Any:
        config = ours(arguments.pop("kwargs")["config"])
        return add(kwargs={"config": config}, **arguments)

    def schedule_task(trial: Any, method_name: str, *more: Any, **arguments: Any) -> Any:
        if method_name == "reset":
            (config,) = arguments.pop("args")
            arguments |= {"args": (ours(config),), "kwargs": {}}
        return schedule(trial, method_name, *more, **arguments)

    manager.add_actor, controller._schedule_trial_task = add_actor, schedule_task


def ours(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that a worker reads."""
    return {name: config[name] for name in KEYS if name in config}


class _Kind:
    """In place of Tune's cache of classes."""

    def __init__(self, kind: type[Actor]) -> None:
        self._remote = ray.remote(kind)

    def get(self, _trainable: Any) -> Any:
        return self._remote

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its controller
