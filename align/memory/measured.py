"""What `alignery gpu check` measured on a card, for predictions. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from align.memory.machines import Machine
from align.sources import cache_folder

_FOLDER = "gpu-check"


def result_file(card: str) -> Path:
    """The file of the result for a card, by its name in `GPUS`; it need not exist."""
    return cache_folder(_FOLDER) / f"{card}.json"


def measured(machine: Machine) -> Machine:
    """The machine with the overheads that were measured on such a card; itself if none were.

    A file that cannot be read, or figures that cannot be right, count as none. Figures count
    whatever the verdict was: a prediction that was too low needs them most.
    """
    try:
        result = json.loads(result_file(machine.name).read_text(encoding="utf-8"))
        figures = _figures(result["checks"])
        context, fragmentation = int(figures["context"]), float(figures["fragmentation"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return machine
    if not (0 < context < machine.memory and 0 <= fragmentation < 1):
        return machine
    return replace(machine, context=context, fragmentation=fragmentation, measured=True)


def _figures(checks: Sequence[Any]) -> dict[str, Any]:
    """The figures of the check of memory. KeyError if there is no such check."""
    for check in checks:
        if check["name"] == "memory":
            figures: dict[str, Any] = check["figures"]
            return figures
    raise KeyError("memory")
