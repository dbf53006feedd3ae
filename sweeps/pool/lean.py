"""Makes Ray Tune start workers that do not import Tune.

Tune gives each worker its own runtime environment, so that Ray's prestarted processes cannot be
used, and adds its own objects to each configuration. This patch removes both. It uses private names
of Ray 2.60's controller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
from ray import tune

from sweeps.pool.actor import Actor

#: Keys of the configuration that workers read; Tune adds others.
KEYS = ("stage", "job", "assignment", "measurement")


class Stand(tune.Trainable):
    """A placeholder for the class of workers that Tune requires; never instantiated."""


def without_tune(controller: Any, kind: type[Actor]) -> None:
    """Make `controller` start workers of class `kind` in place of its own trainable."""
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
    """The entries of a configuration that a worker reads."""
    return {name: config[name] for name in KEYS if name in config}


class _Kind:
    """Replaces Tune's cache of trainable classes."""

    def __init__(self, kind: type[Actor]) -> None:
        self._remote = ray.remote(kind)

    def get(self, _trainable: Any) -> Any:
        return self._remote

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its controller
