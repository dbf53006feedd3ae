"""GPUs by name: the memory that torch finds on them, and the dtype that they train in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from align.errors import RequestError

GIB = 2**30

#: What the driver and torch's kernels take of a card for each process, beside all tensors.
CONTEXT = GIB // 2
#: cuBLAS's own buffers, one for the forward and one for the backward pass's handle (8,519,680
#: bytes each below compute capability 9.0).
WORKSPACES = 2 * 8_519_680
#: Share of the tensors' bytes that torch's caching allocator holds beyond them: blocks are rounded
#: up to 2 MiB, and those of one step do not fit exactly into the gaps of the last.
FRAGMENTATION = 0.05

#: Share of a card that predictions are trusted with where there is a choice: several trials on one
#: card, or another setting than the recipe's.
TRUSTED = 0.95

Dtype = Literal["float16", "bfloat16", "float32"]


@dataclass(frozen=True)
class Machine:
    """What a step is computed on.

    `memory` is in bytes (`torch.cuda.get_device_properties().total_memory`). On a `cpu` there is
    no context, no fragmentation, and loss and attention's gradient are computed our own way
    (align.compat.lm_head, align.compat.torch_attention).
    """

    name: str
    memory: int
    dtype: Dtype
    device: Literal["cuda", "cpu"] = "cuda"

    @property
    def width(self) -> int:
        """Bytes of a number in the frozen weights and in the products."""
        return 4 if self.dtype == "float32" else 2

    @property
    def mixed(self) -> bool:
        """Whether products are in another dtype than the fp32 of LoRA's weights: autocast."""
        return self.dtype != "float32"

    @property
    def dropout_mask(self) -> int:
        """Bytes that dropout keeps for each number: CUDA's kernel a flag, torch's CPU one fp32."""
        return 1 if self.device == "cuda" else 4

    def holds(self, total: int) -> int:
        """Processes of `total` bytes that run at a time; 0: not even one."""
        alone = 1 if total <= self.memory else 0
        return max(alone, int(TRUSTED * self.memory) // total)

    def overhead(self, tensors: int) -> int:
        """What a process takes beside its tensors."""
        if self.device == "cpu":
            return 0
        return CONTEXT + WORKSPACES + int(FRAGMENTATION * tensors)


def _gpu(name: str, gib: float, dtype: Dtype) -> Machine:
    return Machine(name, math.floor(gib * GIB), dtype)


#: fp16 below compute capability 8.0 (align.precision). The sizes are what torch reports, the
#: smallest that is seen with the usual drivers and ECC; a card's label counts in 10^9 and more.
GPUS: dict[str, Machine] = {
    one.name: one
    for one in (
        _gpu("T4", 14.56, "float16"),
        _gpu("P100", 15.89, "float16"),
        _gpu("V100-16", 15.77, "float16"),
        _gpu("V100-32", 31.73, "float16"),
        _gpu("L4", 21.95, "bfloat16"),
        _gpu("A10G", 21.98, "bfloat16"),
        _gpu("RTX3090", 23.69, "bfloat16"),
        _gpu("RTX4090", 23.64, "bfloat16"),
        _gpu("A100-40", 39.38, "bfloat16"),
        _gpu("A100-80", 79.14, "bfloat16"),
        _gpu("H100", 79.10, "bfloat16"),
    )
}


def gpu(name: str) -> Machine:
    """A GPU by its name, in any case. RequestError lists the names."""
    found = {key.lower(): one for key, one in GPUS.items()}.get(name.lower().replace(" ", ""))
    if found is None:
        raise RequestError(f"unknown GPU '{name}'; allowed: {', '.join(GPUS)}")
    return found
