"""What a process can still allocate on a card."""

import pytest
import torch

from align.gpu_memory import allocatable, free_memory

GIB = 2**30


@pytest.mark.parametrize(
    ("free", "allowed", "reserved", "allocated", "expected"),
    [
        (10, 16, 0, 0, 10),  # another process has the rest
        (10, 16, 4, 3, 11),  # what the allocator holds unused counts
        (16, 8, 0, 0, 8),  # half a card, however much of it is free
        (12, 8, 4, 3, 5),
        (1, 8, 2, 2, 1),
        (16, 2, 3, 3, 0),
    ],
)
def test_the_smaller_of_what_is_free_and_what_is_allowed(
    free: int, allowed: int, reserved: int, allocated: int, expected: int
) -> None:
    sizes = (size * GIB for size in (free, allowed, reserved, allocated))
    assert allocatable(*sizes) == expected * GIB


def test_a_card_is_asked_and_a_processor_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        "mem_get_info": (12 * GIB, 16 * GIB),
        "get_per_process_memory_fraction": 0.5,
        "memory_reserved": 4 * GIB,
        "memory_allocated": 3 * GIB,
    }
    for name, value in figures.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_memory(torch.device("cuda")) == 5 * GIB
    assert free_memory(torch.device("cpu")) is None
