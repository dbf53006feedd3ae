"""The dtype policy: bf16 where the hardware computes it, fp16 on older GPUs, else fp32.

`ALIGNERY_GPU=T4` makes any CUDA card use a T4's dtype, memory limit and attention kernels, so that
these can be tested on another card. The speed remains that of the actual card.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch

from align.cpu_features import is_plain
from align.errors import ModelError
from align.gpu_cards import CARDS as KNOWN_CARDS
from align.gpu_cards import Card
from align.gpu_process import limit_memory

#: The environment variable that names the card to emulate.
FORCED = "ALIGNERY_GPU"


#: Cards that can be emulated.
CARDS = {"T4": KNOWN_CARDS["T4"]}


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
    """The policy as a pure function of a machine's properties.

    It uses the capability, not `torch.cuda.is_bf16_supported()`, which is True on a T4 (7.5)
    although a T4 only emulates bf16.
    """
    bf16 = (capability is not None and capability >= (8, 0)) or (device == "cpu" and avx512_bf16)
    fp16 = device == "cuda" and not bf16
    dtype = torch.bfloat16 if bf16 else torch.float16 if fp16 else torch.float32
    return Precision(dtype, {"bf16": bf16, "fp16": fp16, "use_cpu": device == "cpu"})


def forced_card(name: str | None, cuda: bool) -> Card | None:
    """The card that a value of ALIGNERY_GPU names; None if it is empty.

    ModelError if the card is unknown, or if there is no CUDA device to emulate it on.
    """
    if not name:
        return None
    if name not in CARDS:
        raise ModelError(f"{FORCED}={name}: unknown card; allowed: {', '.join(CARDS)}")
    if not cuda:
        raise ModelError(
            f"{FORCED}={name}: no CUDA card here to behave as a {name}; unset {FORCED}, or run "
            "where there is one"
        )
    return CARDS[name]


def capability() -> tuple[int, int] | None:
    """The CUDA capability of this machine's card, or of the card that ALIGNERY_GPU names.

    None on a CPU.
    """
    if card := _forced():
        return card.capability
    return torch.cuda.get_device_capability() if torch.cuda.is_available() else None


def precision() -> Precision:
    """The policy for this machine, or for what ALIGNERY_GPU and ALIGNERY_CPU make of it."""
    plain = is_plain()
    if (card := capability()) is not None:
        return choose("cuda", card, False)
    bf16 = not plain and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return choose("cpu", None, bf16)


def device() -> torch.device:
    """The device that models are on in this process."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def apply_forced_card() -> None:
    """Limit this process to the memory and attention kernels of the emulated card, if any."""
    card = _forced()
    if card is None:
        return
    limit_memory(card_memory=card.memory)
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)


def _forced() -> Card | None:
    return forced_card(os.environ.get(FORCED), torch.cuda.is_available())
