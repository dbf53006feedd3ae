"""A Ray cluster of simulated nodes on this machine, for tests and measurements of scheduling."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from cluster.compat.ray_core import loopback, write_address
from cluster.pool import ACCELERATOR
from cluster.ray import _end, _environment, _processes, _temp_dir
from cluster.token import local_token

#: Size of each node's object store; all of them take this machine's memory.
OBJECT_STORE_BYTES = 80 * 1024**2


class SimulatedPool:
    """Simulated nodes that join and leave; `address` is a value for `ALIGNERY_RAY_ADDRESS`.

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
        """Add a node and return its handle; `accelerator` is the type that it reports."""
        resources = {} if accelerator is None else {f"{ACCELERATOR}{accelerator}": 1}
        with _environment(), loopback():
            return self._cluster.add_node(
                wait=wait,
                num_cpus=cpus,
                num_gpus=gpus,
                resources=resources,
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
    """A head without workers that listens on loopback only; the block's end stops all nodes.

    The head demands a token, which this process and its children have within the block.
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
    """A head with its dashboard on loopback and its files in `folder`, whose path must be short.

    Yields the address at which it takes jobs. It demands a token, which this process and its
    children have within the block.
    """
    # Below the ephemeral ports, so that no other process gets these while the head starts.
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
            # As `ray start` does: jobs find the address of their own cluster in this file.
            write_address(cluster.address, folder)
            yield f"http://127.0.0.1:{ports[0]}"
        finally:
            _shut_down(cluster, folder)


def _head(folder: Path, **options: Any) -> Any:
    """Start a cluster that has only a head, whose files are in `folder`.

    `Cluster` writes the head's address into Ray's default temporary folder, whatever `temp_dir` is.
    That folder may not exist and belongs to the user, so the default is set to `folder`, too.
    """
    from ray.cluster_utils import Cluster

    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = str(folder)
    (folder / "ray").mkdir(exist_ok=True)
    try:
        with _environment(), loopback():
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
    """Stop all nodes and wait for their workers, which live a moment longer and write files."""
    processes = _processes(folder)
    try:
        cluster.shutdown()
    finally:
        _end(processes, psutil.Process.kill)
