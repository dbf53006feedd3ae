"""The one dtype policy: bf16 where the hardware computes it, fp16 on older GPUs, else fp32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Precision:
    """How a machine trains and serves. `args` are TrainingArguments' fields for it."""

    dtype: torch.dtype
    args: dict[str, Any]

    @property
    def name(self) -> str:
        """`bfloat16`, `float16` or `float32`."""
        return str(self.dtype).removeprefix("torch.")


def choose(device: str, capability: tuple[int, int] | None, avx512_bf16: bool) -> Precision:
    """The policy itself, from plain facts of a machine.

    Capability, not `torch.cuda.is_bf16_supported()`, is asked: that answers True on a T4 (7.5),
    which only emulates bf16.
    """
    bf16 = (capability is not None and capability >= (8, 0)) or (device == "cpu" and avx512_bf16)
    fp16 = device == "cuda" and not bf16
    dtype = torch.bfloat16 if bf16 else torch.float16 if fp16 else torch.float32
    return Precision(dtype, {"bf16": bf16, "fp16": fp16, "use_cpu": device == "cpu"})


def precision() -> Precision:
    """The policy for this machine."""
    if torch.cuda.is_available():
        return choose("cuda", torch.cuda.get_device_capability(), False)
    return choose("cpu", None, bool(torch.cpu.get_capabilities().get("avx512_bf16", False)))


def device() -> torch.device:
    """Where models live on this machine."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
