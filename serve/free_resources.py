"""Waiting for the CPUs and the GPU of an engine on the Ray that this process is connected to."""

from __future__ import annotations

import os
import time

from serve.errors import ServeError

#: Seconds to wait for resources that other work holds.
PATIENCE = 10


def free_cpus(requested: int | None, patience: float = PATIENCE) -> int:
    """CPUs for the engine; default: all free ones, at most as many as this machine has.

    ServeError if they are not free within `patience` seconds.
    """
    import ray

    deadline = time.monotonic() + patience
    while True:
        free = int(ray.available_resources().get("CPU", 0))
        if free >= (requested or 1):
            return requested or min(free, os.cpu_count() or 1)
        if time.monotonic() > deadline:
            raise ServeError(
                f"the engine needs {requested or 1} CPUs and {free} are free on this Ray; wait for "
                "other work to end, or ask for fewer with --cpus"
            )
        time.sleep(0.2)


def check_gpus(gpus: float) -> None:
    """ServeError if an engine cannot claim so many GPUs: a part of one, or whole GPUs."""
    if gpus > 1 and gpus != int(gpus):
        raise ServeError(f"--gpus {gpus:g}: beyond 1, an engine takes whole GPUs")


def free_gpus(requested: float | None, cpus: int, patience: float = PATIENCE) -> float:
    """GPUs for the engine; default: a whole GPU if Ray has any, else none.

    ServeError if Ray has not so many, or no node has them beside `cpus` free CPUs within `patience`
    seconds: a card of which trials hold a part is no whole card.
    """
    import ray

    total = float(ray.cluster_resources().get("GPU", 0))
    gpus = float(min(1, int(total))) if requested is None else requested
    if not gpus <= total:  # so that it is no number either
        raise ServeError(
            f"the engine needs {_gpus(gpus)} and this Ray has {total:g}; ask for less with --gpus "
            "(0 computes on the CPU)"
        )
    if gpus and not _placed(cpus, gpus, patience):
        free = float(ray.available_resources().get("GPU", 0))
        raise ServeError(
            f"the engine needs {_gpus(gpus)} beside {cpus} CPUs on a machine, and {free:g} of "
            f"{total:g} GPUs are free on this Ray; wait for other work to end, or ask for a share "
            "that is free with --gpus (0 computes on the CPU)"
        )
    return gpus


def _gpus(count: float) -> str:
    return f"{count:g} of a GPU" if count < 1 else f"{count:g} GPU" + "s" * (count > 1)


def _placed(cpus: int, gpus: float, patience: float) -> bool:
    """Whether Ray can place the engine on a node within `patience` seconds."""
    from ray.util import placement_group, remove_placement_group

    group = placement_group([{"CPU": float(cpus), "GPU": gpus}])
    try:
        return bool(group.wait(timeout_seconds=patience))
    finally:
        remove_placement_group(group)
