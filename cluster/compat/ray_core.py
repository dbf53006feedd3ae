"""Private names of Ray 2.60: a Ray on loopback only, its processes' sessions, its token, actors.

No public request is known for any of them. Each function says what a public interface lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from align.compat.attributes import replaced


@contextmanager
def loopback() -> Iterator[None]:
    """Make Ray use 127.0.0.1 as this machine's address within the block.

    `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0` does so for child processes, but Ray reads it only when it
    is imported, and in this process it may have been imported before. `ray.init` replaces a
    `_node_ip_address` of 127.0.0.1 by the machine's own.
    """
    from ray._private import ray_constants

    with replaced(ray_constants, "ENABLE_RAY_CLUSTER", False):
        yield


@contextmanager
def own_sessions() -> Iterator[None]:
    """Keep signals to our process group from the processes that Ray starts within the block.

    Ray itself only blocks SIGINT in them, and `ray.init` has no option for it. A SIGTERM for the
    whole group, as shells and `timeout` send it, would end the GCS, and make this process, which
    still uses it, wait a minute.
    """
    from ray._private import services

    popen = partial(services.ConsolePopen, start_new_session=True)
    with replaced(services, "ConsolePopen", popen):
        yield


def reload_token() -> None:
    """Make Ray in this process read the variables of its token again.

    Ray reads the mode when it is imported and caches the first token.
    """
    from ray._raylet import (  # type: ignore[attr-defined]  # compiled, without types
        AuthenticationTokenLoader,
        Config,
    )

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def write_address(address: str, folder: Path) -> None:
    """Write the head's address where `ray start` does: jobs of the cluster look for it there.

    `ray.cluster_utils.Cluster` writes it only to the default folder.
    """
    from ray._private.utils import write_ray_address

    write_ray_address(address, str(folder))


def node_of_actor(actor: str) -> str | None:
    """The id of the node on which an actor last ran; None if Ray does not know the actor.

    `ray.util.state.get_actor` asks the dashboard, which a local Ray does not start.
    """
    from ray._private import state

    actor_state = state.actors(actor) or {}
    return actor_state.get("Address", {}).get("NodeID") or None
