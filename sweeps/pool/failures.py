"""Classifies how a worker ended: through its trial, or with its machine.

Ray Tune handles errors of an actor and of a task; every other error ends the whole run, and what
it takes for preemption it restarts by itself. So each error of a worker is first translated to
`WorkerEnded`, which Tune reports as an ordinary failure, and then classified here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError, RayTaskError

from cluster.compat.ray_core import node_of_actor
from sweeps.pool.protocols import End

#: Parts of Ray 2.60's messages, in lower case, that mean that a worker was lost with its machine.
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
    """The end of a worker, for any error of Ray's; `kind` is `memory`, `lost` or empty."""

    def __init__(self, message: str, kind: str = "", actor: str | None = None) -> None:
        super().__init__(actor, message)  # type: ignore[arg-type]  # None is Ray's default
        self.kind = kind

    def __reduce__(self) -> tuple[type[WorkerEnded], tuple[str, str, str | None]]:
        return WorkerEnded, (self.error_msg, self.kind, self.actor_id)


def classify(error: BaseException | None, begun: bool, node_lost: Callable[[str], bool]) -> End:
    """Why a worker ended, and whether its trial may be at fault.

    `begun`: the worker ran the trial, so it did not die while idle. `node_lost` says for an actor's
    id whether its node is gone; it is called only if Ray's message leaves that open.
    """
    if isinstance(error, RayTaskError):
        cause = error.cause if error.cause is not None else error
        return End(f"{type(cause).__name__}: {cause}", counts=True)
    if not isinstance(error, WorkerEnded):
        return End(f"the worker process failed: {error}", counts=True)
    message = " ".join(str(error).split())
    if error.kind == _MEMORY:
        reason = (
            "Ray ended the worker as its machine's memory was nearly full; lower "
            "per_device_train_batch_size and accumulate more steps"
        )
        return End(reason, counts=True, memory=True)
    if error.kind == _LOST or (error.actor_id is not None and node_lost(error.actor_id)):
        return End(f"its machine went away: {message}", counts=False)
    if not begun:
        return End(f"the worker process died before the trial began: {message}", counts=False)
    return End(f"the worker process died: {message}", counts=True)


def worker_ended(error: BaseException) -> BaseException:
    """The error to pass to Tune in place of the error that Ray raised."""
    if isinstance(error, (RayTaskError, WorkerEnded)):
        return error
    actor = getattr(error, "actor_id", None)
    if isinstance(error, OutOfMemoryError):
        return WorkerEnded(str(error), _MEMORY, actor)
    message = str(error).lower()
    lost = isinstance(error, ActorUnavailableError) or getattr(error, "preempted", False)
    if lost or any(phrase in message for phrase in _WITH_ITS_MACHINE):
        return WorkerEnded(str(error), _LOST, actor)
    return WorkerEnded(str(error), "", actor)


def node_lost(actor: str) -> bool:
    """Whether the node of an actor is gone: for Ray, or because it refuses connections."""
    node_id = node_of_actor(actor)
    node = next((entry for entry in ray.nodes() if entry["NodeID"] == node_id), None)
    if node is None or not node["Alive"]:
        return node_id is not None
    try:
        address = node["NodeManagerAddress"], node["NodeManagerPort"]
        socket.create_connection(address, timeout=_KNOCK_SECONDS).close()
    except OSError:
        return True
    return False
