"""Sets a worker's process up for a task, whatever it ran before."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from cluster.settings import Settings


def import_for(settings: Settings, cpus: int, dotted: str) -> Any:
    """Import the object that `module:attribute` names, for work in `settings.home` on `cpus` CPUs.

    The environment is set before the import, and torch's threads after it if torch is loaded.
    """
    os.environ["ALIGNERY_HOME"] = str(settings.home)
    os.environ["OMP_NUM_THREADS"] = str(cpus)
    module, _, attribute = dotted.partition(":")
    imported = getattr(import_module(module), attribute)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(cpus)
    return imported
