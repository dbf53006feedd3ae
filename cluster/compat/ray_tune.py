"""Private names of Ray Tune 2.60: its workers' environment, their errors, and its clean-up.

Tune gives its workers the AWS credentials of the driver's environment as a runtime environment, and
whoever may list a cluster's actors can read these. As Ray has no process ready with an environment
that nothing else uses, it also costs each worker the start of Python.

Tune's controller handles two classes of errors of a worker, `RayTaskError` and `RayActorError`.
Every other class of Ray's, such as `OutOfMemoryError` or `ActorUnschedulableError`, ends the whole
run, and a worker that was preempted is restarted without a notice. An interrupted run leaves its
workers alive.

No public request is known for any of these. What is wanted are an option for the workers' runtime
environment, a hook of `tune.Callback` that sees each worker's error first, and a public way to end
a run at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

#: Methods of Tune's actor manager that take each error of a worker, as the keyword `exception`.
ERROR_HOOKS = ("_actor_task_failed", "_actor_start_failed")


def start_workers_plainly(controller: Any) -> None:
    """Start the run's workers without a runtime environment of their own.

    `controller` is what Tune passes to `TrialScheduler.on_trial_add`, here and below.
    """
    controller._tune_controller._class_cache = _PlainActors()


def translate_errors(controller: Any, translate: Callable[[BaseException], BaseException]) -> None:
    """Pass each error of the run's workers through `translate` before Tune handles it."""
    manager = _actor_manager(controller)
    for name in ERROR_HOOKS:
        setattr(manager, name, _translated(getattr(manager, name), translate))


def end_workers(controller: Any) -> None:
    """Kill all workers of a run whose loop was interrupted, and free their resources."""
    _actor_manager(controller).cleanup()


def _actor_manager(controller: Any) -> Any:
    return controller._tune_controller._actor_manager


def _translated(
    hook: Callable[..., None], translate: Callable[[BaseException], BaseException]
) -> Callable[..., None]:
    def translated(*arguments: Any, exception: BaseException, **keywords: Any) -> None:
        hook(*arguments, exception=translate(exception), **keywords)

    return translated


class _PlainActors:
    """Replaces Tune's cache of actor classes."""

    def __init__(self) -> None:
        self._actors: dict[type, Any] = {}

    def get(self, trainable: type) -> Any:
        """The actor class of a trainable, which Ray registers only once."""
        if trainable not in self._actors:
            self._actors[trainable] = ray.remote(trainable)
        return self._actors[trainable]
