"""The plan of an engine step: plain data."""

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
    """Copies the keys and values of the first `count` tokens from a KV slot to another."""

    source: int
    target: int
    count: int


@dataclass(frozen=True)
class StepPlan:
    """The actions of a step, executed in the order of the fields; `copies` in list order.

    `evictions` are the keys of adapters that lose their bank slot, `residencies` the (adapter key,
    bank slot) pairs to load. Chunks of the same adapter are adjacent. `rows` are the ids of the
    sequences that decode a token; their prompts were computed before this plan. `admitted` are the
    ids of the sequences that got a KV slot.
    """

    evictions: tuple[int, ...] = ()
    residencies: tuple[tuple[int, int], ...] = ()
    copies: tuple[Copy, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    rows: tuple[int, ...] = ()
    admitted: tuple[int, ...] = ()
