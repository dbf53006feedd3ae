"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

from align.base import Base

PACKAGES = ("alignery", "torch", "transformers", "peft", "trl")


def machine_facts(base: Base, vllm: str | None) -> dict[str, object]:
    """Processor, threads, dtype and versions; `vllm` is its version or None."""
    versions: dict[str, str | None] = {name: metadata.version(name) for name in PACKAGES}
    return {
        "processor": _processor(),
        "device": _device(base),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "dtype": str(base.model.dtype).removeprefix("torch."),
        "base": base.ref,
        "python": platform.python_version(),
        "versions": {**versions, "vllm": vllm},
    }


def _processor() -> str:
    """The processor's name as Linux gives it, elsewhere as Python does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _device(base: Base) -> str:
    return torch.cuda.get_device_name() if base.model.device.type == "cuda" else "cpu"
