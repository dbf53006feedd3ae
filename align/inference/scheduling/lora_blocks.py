"""Which neighbouring groups of tokens share a LoRA product. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: Tokens times columns of needless arithmetic that are cheaper than the launches of another block:
#: for a linear layer of 1,000 inputs and outputs, 40,000 take a T4 about 10 us at a fifth of its
#: peak, and four more launches 20 to 30 us.
NEEDLESS = 40_000


def merged(
    groups: Sequence[tuple[int, int, int]], rank: Callable[[int], int], needless: int
) -> list[tuple[int, int, frozenset[int]]]:
    """Neighbouring `groups` (first token, end, slot) as blocks (first token, end, slots).

    A group joins the block before it if that adds at most `needless` tokens times columns.
    """

    def work(first: int, end: int, slots: frozenset[int]) -> int:
        return (end - first) * sum(map(rank, slots))

    blocks: list[tuple[int, int, frozenset[int]]] = []
    for first, end, slot in groups:
        group = (first, end, frozenset({slot}))
        if blocks:
            joined = (blocks[-1][0], end, blocks[-1][2] | group[2])
            if work(*joined) - work(*blocks[-1]) - work(*group) <= needless:
                blocks[-1] = joined
                continue
        blocks.append(group)
    return blocks
