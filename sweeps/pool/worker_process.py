"""Sets a worker's process up for a task, whatever it ran before."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from align.gpu_process import limit_memory, prepare_process
from align.memory.serving import needs_of
from cluster.settings import Settings


def import_for(settings: Settings, cpus: int, gpus: float, dotted: str) -> Any:
    """Import the object that `module:attribute` names, for work in `settings.home`.

    The work has `cpus` CPUs and the share `gpus` of a GPU; with 0 it sees none. The environment is
    set before the import, and torch's threads after it if torch is loaded.
    """
    os.environ["ALIGNERY_HOME"] = str(settings.home)
    os.environ["OMP_NUM_THREADS"] = str(cpus)
    prepare_process(gpus)
    module, _, attribute = dotted.partition(":")
    imported = getattr(import_module(module), attribute)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(cpus)
    return imported


def use_card(share: float, base: str) -> None:
    """Check this process's card before `base` is loaded on it, and hold the process to its share.

    Does nothing without a GPU, or for work that has not imported torch. GpuError if the card cannot
    be used, or the weights of the base do not fit into what is free of it.
    """
    if share <= 0 or "torch" not in sys.modules:
        return
    from align.gpu_preflight import check_card

    check_card(share, needs_of(base))
    limit_memory(share)
