"""GPUs by name: the memory that torch reports, and the dtype of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from align.errors import RequestError
from align.gpu_cards import CARDS, CONTEXT, GIB, Card

__all__ = ["CONTEXT", "GIB", "GPUS", "TRUSTED", "Dtype", "Machine", "gpu"]

#: Workspaces of cuBLAS, for the handles of the forward and the backward pass (8,519,680 bytes each
#: below compute capability 9.0).
WORKSPACES = 2 * 8_519_680
#: Overhead of torch's caching allocator, as a share of the tensors' bytes: blocks are rounded up to
#: 2 MiB, and the blocks of a step do not fit exactly into the gaps of the previous step. A default,
#: as CONTEXT is: see `align.memory.measured`.
FRAGMENTATION = 0.05

#: Share of a card that predictions may fill where there is an alternative: several trials on a
#: card, or a setting other than the recipe's.
TRUSTED = 0.95

Dtype = Literal["float16", "bfloat16", "float32"]


@dataclass(frozen=True)
class Machine:
    """The device that a step is computed on.

    `memory` is in bytes (`torch.cuda.get_device_properties().total_memory`). `context` (bytes) and
    `fragmentation` (a share of the tensors) are overheads; `measured` if they are those of such a
    card (align.memory.measured) and not assumptions. A `cpu` has no context and no fragmentation,
    and the loss and the gradient of attention are computed by this project (align.compat.lm_head,
    align.compat.torch_attention).
    """

    name: str
    memory: int
    dtype: Dtype
    device: Literal["cuda", "cpu"] = "cuda"
    context: int = CONTEXT
    fragmentation: float = FRAGMENTATION
    measured: bool = False

    @property
    def width(self) -> int:
        """Bytes of a number in the frozen weights and in matrix products."""
        return 4 if self.dtype == "float32" else 2

    @property
    def mixed(self) -> bool:
        """Whether products use autocast, i.e. a dtype other than the fp32 of LoRA's weights."""
        return self.dtype != "float32"

    @property
    def held_width(self) -> int:
        """Bytes that a weight takes more if it is held in fp32, which only fp16 calls for."""
        return 2 if self.dtype == "float16" else 0

    @property
    def grouped_heads(self) -> bool:
        """Whether attention without a mask takes fewer key heads than query heads.

        On a GPU below compute capability 8.0, which trains in fp16, keys and values are repeated
        (align.compat.equal_heads).
        """
        return self.device == "cpu" or self.dtype != "float16"

    @property
    def dropout_mask(self) -> int:
        """Bytes that dropout saves for each number: a flag in CUDA, an fp32 number on a CPU."""
        return 1 if self.device == "cuda" else 4

    def holds(self, total: int) -> int:
        """Number of processes of `total` bytes that fit at a time; 0 if none fits."""
        alone = 1 if total <= self.memory else 0
        return max(alone, int(TRUSTED * self.memory) // total)

    def overhead(self, tensors: int) -> int:
        """Bytes that a process uses besides its tensors."""
        if self.device == "cpu":
            return 0
        return self.context + WORKSPACES + int(self.fragmentation * tensors)


def _machine(card: Card) -> Machine:
    dtype: Dtype = "bfloat16" if card.capability >= (8, 0) else "float16"  # see align.precision
    return Machine(card.name, card.memory, dtype)


GPUS: dict[str, Machine] = {name: _machine(card) for name, card in CARDS.items()}

#: Well-known older cards, and their compute capabilities.
_TOO_OLD = {"p100": "6.0", "v100": "7.0", "v100-16": "7.0", "v100-32": "7.0"}


def gpu(name: str) -> Machine:
    """A GPU by its name, in any case. RequestError lists the names."""
    key = name.lower().replace(" ", "")
    match = {known.lower(): machine for known, machine in GPUS.items()}.get(key)
    if match is None:
        if (capability := _TOO_OLD.get(key)) is not None:
            raise RequestError(
                f"GPU '{name}' has compute capability {capability}, and PyTorch's builds for CUDA "
                f"13 have code from 7.5 on; allowed: {', '.join(GPUS)}"
            )
        raise RequestError(f"unknown GPU '{name}'; allowed: {', '.join(GPUS)}")
    return match
