"""Memory of a GPU that this process can still allocate."""

from __future__ import annotations

import torch


def free_memory(device: torch.device) -> int | None:
    """Bytes that tensors of this process can still take on a GPU; None for another device."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return allocatable(
        free,
        int(total * torch.cuda.get_per_process_memory_fraction(device)),
        torch.cuda.memory_reserved(device),
        torch.cuda.memory_allocated(device),
    )


def allocatable(free: int, allowed: int, reserved: int, allocated: int) -> int:
    """Bytes that tensors can still take on a card of which `free` bytes are free.

    The process may reserve `allowed` bytes in all (its share of the card). It has reserved
    `reserved` bytes, of which `allocated` are in use; torch's allocator reuses the rest.
    """
    return max(0, min(free + reserved, allowed) - allocated)
