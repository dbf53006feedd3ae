"""What an engine does in one step: plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chunk:
    """Prompt tokens [start, start + count) of a sequence, to be computed in its slot."""

    sequence: int
    start: int
    count: int


@dataclass(frozen=True)
class Copy:
    """The keys and values of the first `count` tokens, from KV slot to KV slot."""

    source: int
    target: int
    count: int


@dataclass(frozen=True)
class StepPlan:
    """One step, carried out in the order of the fields, and copies in their own order.

    `evictions` are adapter keys that leave their bank slot, `residencies` (adapter key, bank slot)
    to fill. Chunks of one adapter are neighbours. `rows` are the ids of the sequences that write a
    token: their prompt was computed before this plan. `admitted` are those that got a KV slot.
    """

    evictions: tuple[int, ...] = ()
    residencies: tuple[tuple[int, int], ...] = ()
    copies: tuple[Copy, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    rows: tuple[int, ...] = ()
    admitted: tuple[int, ...] = ()
