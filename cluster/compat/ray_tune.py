"""Private names of Ray Tune 2.60: how errors of workers reach its controller, and its clean-up.

Tune's controller handles two classes of errors of a worker, `RayTaskError` and `RayActorError`.
Every other class of Ray's, such as `OutOfMemoryError` or `ActorUnschedulableError`, ends the whole
run, and a worker that was preempted is restarted without a notice. An interrupted run leaves its
workers alive. No public request is known that would change this; what is wanted are a hook of
`tune.Callback` that sees each worker's error first, and a public way to end a run at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Methods of Tune's actor manager that take each error of a worker, as the keyword `exception`.
ERROR_HOOKS = ("_actor_task_failed", "_actor_start_failed")


def translate_errors(controller: Any, translate: Callable[[BaseException], BaseException]) -> None:
    """Pass each error of the run's workers through `translate` before Tune handles it.

    `controller` is what Tune passes to `TrialScheduler.on_trial_add`.
    """
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
