"""Shapes of decode steps: few enough that each can be captured as a CUDA graph. Imports no torch.

A step is padded to the next larger shape, so that its result does not depend on whether the shape
has been captured yet.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

#: Numbers of rows of padded steps; beyond the last, multiples of 64.
ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)
_SHORTEST = 256  # tokens
#: Positions (rows times tokens) up to which reading keys and values costs little: on a T4, with
#: Qwen2.5-0.5B's 12 KiB for each position, 0.6 ms of a step of at least 4 ms.
_CHEAP = 4096
#: Positions from which on reading keys and values takes longer than launching a step's kernels (2
#: to 6 ms with Qwen2.5-0.5B and a fast host), so that a graph gains nothing.
_BOUND_BY_READING = 65_536


@dataclass(frozen=True)
class Bucket:
    """A padded shape: number of rows, and the bound of their lengths in tokens."""

    rows: int
    longest: int

    @property
    def positions(self) -> int:
        """Positions whose keys and values a step of this shape reads."""
        return self.rows * self.longest


def bucket_of(rows: int, longest: int, slots: int, limit: int) -> Bucket:
    """The shape for `rows` rows, at most `slots`, of at most `longest` tokens.

    Lengths are powers of two up to a slot's `limit`. Steps of few rows have few lengths, since
    reading more positions than necessary costs them little.
    """
    padded = min(slots, _padded(rows))
    shortest = max(_SHORTEST, _power(_CHEAP // padded))
    return Bucket(padded, min(limit, max(shortest, _power(longest))))


def capturable(slots: int, limit: int) -> tuple[Bucket, ...]:
    """All shapes that gain from a CUDA graph, the largest first.

    Graphs of a shared pool take the memory of the largest if that is captured first.
    """
    sizes = {min(slots, _padded(rows)) for rows in range(1, slots + 1)}
    lengths = {min(limit, 1 << exponent) for exponent in range(limit.bit_length() + 1)}
    shapes = {bucket_of(rows, longest, slots, limit) for rows in sizes for longest in lengths}
    return tuple(
        sorted(
            (shape for shape in shapes if shape.positions <= _BOUND_BY_READING),
            key=lambda shape: (shape.positions, shape.rows),
            reverse=True,
        )
    )


def _padded(rows: int) -> int:
    if rows > ROWS[-1]:
        return -(-rows // 64) * 64
    return ROWS[bisect_left(ROWS, rows)]


def _power(number: int) -> int:
    """The smallest power of two that is at least `number`."""
    return 1 << max(0, number - 1).bit_length()
