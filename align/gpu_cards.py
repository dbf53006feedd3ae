"""GPUs by name: compute capability, and the memory that torch reports. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

GIB = 2**30

#: Bytes of a card that the driver and torch's kernels use in each process, besides tensors.
CONTEXT = GIB // 2


@dataclass(frozen=True)
class Card:
    """A GPU's name, CUDA capability, and the bytes that torch reports as its total memory."""

    name: str
    capability: tuple[int, int]
    memory: int


def _card(name: str, gib: float, major: int, minor: int) -> Card:
    return Card(name, (major, minor), math.floor(gib * GIB))


#: The smallest sizes that torch reports with the usual drivers and ECC; nominal sizes are larger
#: and in units of 10^9 bytes. Older cards are not listed: PyTorch's builds for CUDA 13 have no code
#: below capability 7.5.
CARDS: dict[str, Card] = {
    card.name: card
    for card in (
        _card("T4", 14.56, 7, 5),
        _card("L4", 21.95, 8, 9),
        _card("A10G", 21.98, 8, 6),
        _card("RTX3090", 23.69, 8, 6),
        _card("RTX4090", 23.64, 8, 9),
        _card("A100-40", 39.38, 8, 0),
        _card("A100-80", 79.14, 8, 0),
        _card("H100", 79.10, 9, 0),
    )
}
