"""Checks, before the first trial, that every machine reaches what its workers need."""

from __future__ import annotations

import socket
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from align.recipe import Recipe
from align.sources import local_folder, on_hub
from cluster.database import Database, open_database
from cluster.pool import Node, read_pool
from cluster.settings import Settings
from cluster.storage import Storage
from sweeps.errors import SweepError
from sweeps.pool.placement import Placement
from sweeps.pool.stage_job import portable
from sweeps.pool.worker_probe import Probe, find_fault, lock_number, nonce_key
from sweeps.study_lock import lock_folder

#: Seconds to wait for a machine's answer; its first task waits for Python to start there.
ANSWER_SECONDS = 120


def check_workers(settings: Settings, placement: Placement, recipe: Recipe | None = None) -> None:
    """Check database, storage, home and `recipe`'s base on every machine where trials would run.

    This machine is not checked; several nodes on the same machine are checked once.
    SweepError names the machine, what it cannot reach and what to set.
    """
    if settings.ray_address is None:
        return
    suitable = [node for node in read_pool() if placement.suits(node)]
    nodes = list({(node.host, node.address): node for node in suitable if not _here(node)}.values())
    if not nodes:
        return
    base = recipe.base if recipe is not None and not on_hub(recipe.base) else None
    folder = local_folder(base) if base is not None and "/" in base else None
    with _written(settings) as nonce:
        probe = Probe(portable(settings), nonce, None if folder is None else str(folder.resolve()))
        for node, fault in zip(nodes, _answers(probe, nodes), strict=True):
            if fault:
                raise SweepError(f"workers on {node.host or node.address} {fault}")


def _here(node: Node) -> bool:
    """Whether the node is this machine."""
    from ray.util import get_node_ip_address

    own_addresses = ("127.0.0.1", get_node_ip_address())
    return node.host == socket.gethostname() and node.address in own_addresses


def _answers(probe: Probe, nodes: Sequence[Node]) -> list[str]:
    """The fault that each node's worker reports, empty if none, in the order of `nodes`."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=1)(find_fault)
    references = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)
        ).remote(probe)
        for node in nodes
    ]
    faults = []
    for node, reference in zip(nodes, references, strict=True):
        try:
            faults.append(str(ray.get(reference, timeout=ANSWER_SECONDS)))
        except GetTimeoutError:
            faults.append(f"do not answer within {ANSWER_SECONDS} s; see `ray status` there")
        except RayError as error:
            node_left = node.id not in {present.id for present in read_pool()}
            faults.append("" if node_left else _no_answer(error))
    return faults


def _no_answer(error: Exception) -> str:
    cause = " ".join(str(error).split())
    if "ModuleNotFoundError" in cause or "ImportError" in cause:
        return (
            f"lack a package that this machine has: {cause[-200:]}; install the same Alignery "
            "there, or send it along with `alignery sweep submit`"
        )
    return f"cannot run tasks: {cause[-300:]}"


@contextmanager
def _written(settings: Settings) -> Iterator[str]:
    """A nonce that is in storage and marked in the database until the block ends."""
    nonce = uuid.uuid4().hex
    storage, database = Storage(settings), open_database(settings)
    try:
        with _marked(settings, database, nonce), tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "nonce").write_text(nonce, encoding="utf-8")
            storage.put_folder(Path(folder), nonce_key(nonce))
            try:
                yield nonce
            finally:
                storage.delete(nonce_key(nonce))
    finally:
        database.close()


@contextmanager
def _marked(settings: Settings, database: Database, nonce: str) -> Iterator[None]:
    """Mark the database with the nonce: a file beside SQLite's, an advisory lock on PostgreSQL."""
    if settings.database_file is not None:
        mark = lock_folder(settings) / f"{nonce}.nonce"
        mark.touch()
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)
        return
    with database.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_number(nonce)})
        try:
            yield
        finally:
            connection.invalidate()  # closes the session, which releases the lock
