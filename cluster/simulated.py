"""A Ray cluster of pretended machines on this one, for tests and for measuring the scheduling."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from cluster.pool import ACCELERATOR
from cluster.ray import _end, _environment, _loopback, _processes, _temp_dir
from cluster.token import local_token

#: Of each node; every byte is of this machine's memory.
OBJECT_STORE_BYTES = 80 * 1024**2


class SimulatedPool:
    """Nodes that join and leave; `address` is what `ALIGNERY_RAY_ADDRESS` takes.

    The head has no CPUs, as in clusters whose head only schedules.
    """

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster

    @property
    def address(self) -> str:
        """`host:port` of the head."""
        return str(self._cluster.address)

    def join(
        self,
        cpus: int = 1,
        gpus: int = 0,
        accelerator: str | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        wait: bool = True,
    ) -> Any:
        """Add a node and give its handle; `accelerator` is the type that it pretends to have."""
        named = {} if accelerator is None else {f"{ACCELERATOR}{accelerator}": 1}
        with _environment(), _loopback():
            return self._cluster.add_node(
                wait=wait,
                num_cpus=cpus,
                num_gpus=gpus,
                resources=named,
                labels=dict(labels or {}),
                object_store_memory=OBJECT_STORE_BYTES,
            )

    def settle(self) -> None:
        """Wait until all nodes have joined."""
        self._cluster.wait_for_nodes()

    def leave(self, node: Any) -> None:
        """Kill a node with all its processes, as if its machine were switched off."""
        self._cluster.remove_node(node, allow_graceful=False)


@contextmanager
def simulated_pool() -> Iterator[SimulatedPool]:
    """A head without workers, that listens on loopback only; the end ends all nodes.

    It demands a token, which this process and those that it starts have in the block.
    """
    folder = _temp_dir()
    try:
        with local_token(folder):
            cluster = _head(folder, num_cpus=0, object_store_memory=OBJECT_STORE_BYTES)
            try:
                yield SimulatedPool(cluster)
            finally:
                _shut_down(cluster, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def simulated_head(folder: Path, cpus: int = 2) -> Iterator[str]:
    """A head with its dashboard on loopback that keeps its files in `folder`, whose path is short.

    Gives the address at which it takes jobs. It demands a token, which this process and those that
    it starts have in the block.
    """
    from ray._private.utils import write_ray_address

    # Where no machine looks for a port by itself, so that none is taken while the head starts.
    ports = random.Random().sample(range(20_000, 32_768), 2)
    with local_token(folder):
        cluster = _head(
            folder,
            num_cpus=cpus,
            object_store_memory=100 * 2**20,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=ports[0],
            dashboard_agent_listen_port=ports[1],
        )
        try:
            # As `ray start` does: by this, jobs know their own cluster from another's.
            write_ray_address(cluster.address, str(folder))
            yield f"http://127.0.0.1:{ports[0]}"
        finally:
            _shut_down(cluster, folder)


def _head(folder: Path, **options: Any) -> Any:
    """A cluster with a head alone, whose files are in `folder`.

    Whatever the head's temporary folder, `Cluster` writes its address into Ray's default one, which
    may not be there and is the user's: here it lies in `folder`, too.
    """
    from ray.cluster_utils import Cluster

    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = str(folder)
    (folder / "ray").mkdir(exist_ok=True)
    try:
        with _environment(), _loopback():
            return Cluster(
                initialize_head=True,
                head_node_args={"include_dashboard": False, "temp_dir": str(folder), **options},
            )
    finally:
        if before is None:
            del os.environ["RAY_TMPDIR"]
        else:
            os.environ["RAY_TMPDIR"] = before


def _shut_down(cluster: Any, folder: Path) -> None:
    """End all nodes and wait for the workers, which outlive them for a moment and write there."""
    processes = _processes(folder)
    try:
        cluster.shutdown()
    finally:
        _end(processes, psutil.Process.kill)
