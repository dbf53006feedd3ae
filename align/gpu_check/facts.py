"""What is checked on: the machine, its card, and the versions. No names of users or hosts."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from align.memory.machines import GPUS
from align.precision import FORCED, precision

PACKAGES = (
    "alignery", "torch", "triton", "transformers", "trl", "peft", "accelerate", "ray",
)  # fmt: skip
#: Words in torch's names of devices that say nothing about the card.
_MAKERS = re.compile(r"\b(NVIDIA|Tesla|GeForce|GPU)\b")


def machine() -> dict[str, Any]:
    """Processor, cores, memory in bytes, and system."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "dtype": precision().name,
    }


def versions() -> dict[str, str | None]:
    """Versions of the packages that compute; None if a package is not installed."""
    found = {name: _version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found, "cuda": torch.version.cuda}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def card() -> dict[str, Any] | None:
    """The card as torch sees it, with the driver's version; None without a card."""
    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "name": card_name(properties.name, properties.total_memory, os.environ.get(FORCED)),
        "device": properties.name,
        "capability": list(torch.cuda.get_device_capability()),
        "memory": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "driver": _driver(),
        "played": os.environ.get(FORCED) or None,
    }


def card_name(device: str, memory: int, played: str | None = None) -> str:
    """The name under which a card's result is stored: that of GPUS where the card is known.

    `device` is torch's name, such as `Tesla T4`. Of names with two sizes of memory it is the
    largest that `memory` bytes can be. A card that plays another is neither of them.
    """
    own = _MAKERS.sub("", device).strip().upper()
    compact = own.replace(" ", "")
    fitting = [
        known
        for known in GPUS.values()
        if _is_card(known.name, own, compact) and known.memory <= memory * 1.01
    ]
    largest = max(fitting, key=lambda known: known.memory, default=None)
    name = re.sub(r"[^A-Za-z0-9]+", "-", own).strip("-") if largest is None else largest.name
    return f"{name}-as-{played}" if played else name


def _is_card(known: str, own: str, compact: str) -> bool:
    family = known.upper().partition("-")[0]
    return family in re.split(r"[\s-]", own) or family == compact


def processor() -> str:
    """The processor's name as Linux gives it, elsewhere as Python does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _driver() -> str | None:
    """The driver's version as `nvidia-smi` gives it; None if that program does not."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(told.stdout.split()), None)
