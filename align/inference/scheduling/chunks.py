"""Distributes the prompt tokens of a step among sequences."""

from __future__ import annotations

from collections.abc import Mapping

from align.inference.scheduling.plan import Chunk
from align.inference.scheduling.sequence import Sequence


def share_out(reading: list[Sequence], budget: int, wanted: Mapping[int, int]) -> tuple[Chunk, ...]:
    """Chunks of at most `budget` tokens in total; chunks of the same adapter are adjacent.

    `reading` are the sequences with unread prompt tokens, oldest first. Half of the budget goes to
    the oldest, so that short prompts cannot starve a long prompt; the rest goes to the shortest
    prompts, so that a long prompt does not stall them. `wanted` has, by sequence id, the number of
    prompt tokens that other sequences wait for, which then counts as the prompt's length.
    """
    if not reading:
        return ()
    oldest, *others = reading
    others.sort(key=lambda s: min(len(s.prompt), wanted.get(s.id, len(s.prompt))) - s.computed)
    grants = {oldest.id: min(oldest.unread, (budget + 1) // 2)}
    left = budget - grants[oldest.id]
    for sequence in others:
        if not left:
            break
        grants[sequence.id] = min(sequence.unread, left)
        left -= grants[sequence.id]
    grants[oldest.id] += min(oldest.unread - grants[oldest.id], left)
    granted = sorted((s for s in reading if s.id in grants), key=lambda s: s.adapter)
    return tuple(Chunk(s.id, s.computed, grants[s.id]) for s in granted)
