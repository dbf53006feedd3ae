"""How a worker ended: by what it ran, or with its machine.

Ray Tune knows two deaths, of an actor and of a task, and lets every other end the whole run; what
it takes for preempted it restarts by itself. So each end of a worker is first made one kind of
error, which then comes back as an ordinary failure, and is told apart here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import ray
from ray._private import state
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError, RayTaskError

from sweeps.pool.protocols import End

#: What Ray 2.60 says of a worker that went with its machine, in lower case.
_WITH_ITS_MACHINE = (
    "node has died",
    "node was terminated",
    "node was preempted",
    "node it was running on is dead",
    "owner's node has crashed",
    "placement group was removed",
    "placement group is removed",
    "placement group bundles that are not registered",
    "raylet is unavailable",
    "raylet died",
    "not schedulable",
)
_MEMORY = "memory"
_LOST = "lost"
_KNOCK_SECONDS = 2.0


class WorkerEnded(RayActorError):
    """A worker's end, whatever Ray's error for it was; `kind` is `memory`, `lost` or empty."""

    def __init__(self, message: str, kind: str = "", actor: str | None = None) -> None:
        super().__init__(actor, message)  # type: ignore[arg-type]  # None is Ray's default
        self.kind = kind

    def __reduce__(self) -> tuple[type[WorkerEnded], tuple[str, str, str | None]]:
        return WorkerEnded, (self.error_msg, self.kind, self.actor_id)


def classify(error: BaseException | None, begun: bool, node_lost: Callable[[str], bool]) -> End:
    """Whose fault a worker's end is.

    `begun`: it ran the trial, rather than dying while it was idle. `node_lost` tells of an actor's
    id whether its node is gone; it is asked only where Ray's words leave that open.
    """
    if isinstance(error, RayTaskError):
        cause = error.cause if error.cause is not None else error
        return End(f"{type(cause).__name__}: {cause}", counts=True)
    if not isinstance(error, WorkerEnded):
        return End(f"the worker process failed: {error}", counts=True)
    words = " ".join(str(error).split())
    if error.kind == _MEMORY:
        reason = (
            "Ray ended the worker as its machine's memory was nearly full; lower "
            "per_device_train_batch_size and accumulate more steps"
        )
        return End(reason, counts=True, memory=True)
    if error.kind == _LOST or (error.actor_id is not None and node_lost(error.actor_id)):
        return End(f"its machine went away: {words}", counts=False)
    if not begun:
        return End(f"the worker process died before the trial began: {words}", counts=False)
    return End(f"the worker process died: {words}", counts=True)


def worker_ended(error: BaseException) -> BaseException:
    """The error that Tune is to see in place of what Ray raised."""
    if isinstance(error, (RayTaskError, WorkerEnded)):
        return error
    actor = getattr(error, "actor_id", None)
    if isinstance(error, OutOfMemoryError):
        return WorkerEnded(str(error), _MEMORY, actor)
    words = str(error).lower()
    lost = isinstance(error, ActorUnavailableError) or getattr(error, "preempted", False)
    if lost or any(one in words for one in _WITH_ITS_MACHINE):
        return WorkerEnded(str(error), _LOST, actor)
    return WorkerEnded(str(error), "", actor)


def watch_workers(controller: Any) -> None:
    """Have all ends of this Tune run's workers pass `worker_ended`. Private names of Ray 2.60."""
    manager = controller._actor_manager
    for name in ("_actor_task_failed", "_actor_start_failed"):
        setattr(manager, name, _translated(getattr(manager, name)))


def _translated(hook: Callable[..., None]) -> Callable[..., None]:
    def translated(*arguments: Any, exception: BaseException, **more: Any) -> None:
        hook(*arguments, exception=worker_ended(exception), **more)

    return translated


def node_lost(actor: str) -> bool:
    """Whether the node of an actor is gone, or does not answer where Ray has not noticed yet."""
    found = state.actors(actor) or {}
    node = found.get("Address", {}).get("NodeID")
    here = next((one for one in ray.nodes() if one["NodeID"] == node), None)
    if here is None or not here["Alive"]:
        return node is not None
    try:
        address = here["NodeManagerAddress"], here["NodeManagerPort"]
        socket.create_connection(address, timeout=_KNOCK_SECONDS).close()
    except OSError:
        return True
    return False
