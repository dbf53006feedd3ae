"""Decode steps captured as CUDA graphs: one launch instead of a thousand."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch

from align.inference.kernels import Batch

#: Rows that graphs are captured for; a step takes the next larger number.
ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)
_SHORTEST = 128

#: Runs a step: tokens (rows,), batch → logits (rows, vocabulary).
Step = Callable[[torch.Tensor, Batch], torch.Tensor]
#: Records what it is given once; the result repeats it and returns the same tensor, refilled.
Capture = Callable[[Callable[[], torch.Tensor]], Callable[[], torch.Tensor]]


def row_bucket(rows: int) -> int:
    """The smallest captured number of rows that holds these; beyond, multiples of 64."""
    if rows > ROWS[-1]:
        return -(-rows // 64) * 64
    return ROWS[bisect_left(ROWS, rows)]


def length_bucket(longest: int, limit: int) -> int:
    """The next power of two, from 128 up, but never over a slot's `limit`."""
    return min(limit, max(_SHORTEST, 1 << (longest - 1).bit_length()))


@dataclass(frozen=True)
class _Graph:
    tokens: torch.Tensor
    batch: Batch
    replay: Callable[[], torch.Tensor]


class DecodeGraphs:
    """One graph for each bucket of rows and lengths, with and without adapters.

    Its inputs are tensors that stay where they are and are filled before each replay. Rows that
    a bucket has too many write to `spare`, a slot that no sequence is ever given.
    """

    def __init__(self, step: Step, spare: int, limit: int, capture: Capture):
        self._step, self._spare, self._limit, self._capture = step, spare, limit, capture
        self._graphs: dict[Hashable, _Graph] = {}
        self._version = 0

    def run(self, tokens: torch.Tensor, batch: Batch, version: int) -> torch.Tensor:
        """Logits (rows, vocabulary). Another `version` of the bank has its factors elsewhere."""
        if version != self._version:
            self._graphs.clear()
            self._version = version
        rows = tokens.shape[0]
        key = (row_bucket(rows), length_bucket(batch.longest, self._limit), batch.adapted)
        if key not in self._graphs:
            self._graphs[key] = self._captured(*key, device=tokens.device)
        graph = self._graphs[key]
        for held, given, filler in (
            (graph.tokens, tokens, 0),
            (graph.batch.slots, batch.slots, self._spare),
            (graph.batch.positions, batch.positions, 0),
            (graph.batch.bank, batch.bank, -1),
        ):
            held[:rows].copy_(given)
            held[rows:].fill_(filler)
        return graph.replay()[:rows]

    def _captured(self, rows: int, longest: int, adapted: bool, device: torch.device) -> _Graph:
        def ints(value: int) -> torch.Tensor:
            return torch.full((rows,), value, dtype=torch.int32, device=device)

        tokens = torch.zeros(rows, dtype=torch.long, device=device)
        batch = Batch(ints(self._spare), ints(0), ints(-1), longest, adapted)
        return _Graph(tokens, batch, self._capture(lambda: self._step(tokens, batch)))


def capture_on_cuda(work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Warm up beside the main stream, as graphs need, then record."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay
