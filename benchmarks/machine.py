"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import torch

from align.base import Base
from align.gpu_check.facts import processor

PACKAGES = ("alignery", "torch", "transformers", "peft", "trl")


def machine_facts(base: Base, vllm: str | None) -> dict[str, object]:
    """Processor, threads, dtype and versions; `vllm` is its version or None."""
    versions: dict[str, str | None] = {name: metadata.version(name) for name in PACKAGES}
    return {
        "processor": processor(),
        "device": _device(base),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "dtype": str(base.model.dtype).removeprefix("torch."),
        "base": base.ref,
        "python": platform.python_version(),
        "versions": {**versions, "vllm": vllm},
    }


def _device(base: Base) -> str:
    return torch.cuda.get_device_name() if base.model.device.type == "cuda" else "cpu"
