"""Decode steps captured as CUDA graphs: a single launch instead of a thousand."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch

from align.inference.kernels import Batch

#: Numbers of rows that graphs are captured for; a step uses the next larger number.
ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)
_SHORTEST = 128

#: Runs a step: tokens (rows,), batch → logits (rows, vocabulary).
Step = Callable[[torch.Tensor, Batch], torch.Tensor]
#: Records a function; the result replays it and returns the same tensor with new values.
Capture = Callable[[Callable[[], torch.Tensor]], Callable[[], torch.Tensor]]


def row_bucket(rows: int) -> int:
    """The smallest number in ROWS that is at least `rows`; beyond ROWS, a multiple of 64."""
    if rows > ROWS[-1]:
        return -(-rows // 64) * 64
    return ROWS[bisect_left(ROWS, rows)]


def length_bucket(longest: int, limit: int) -> int:
    """The next power of two, at least 128 and at most a slot's `limit`."""
    return min(limit, max(_SHORTEST, 1 << (longest - 1).bit_length()))


@dataclass(frozen=True)
class _Graph:
    tokens: torch.Tensor
    batch: Batch
    replay: Callable[[], torch.Tensor]


class DecodeGraphs:
    """A graph for each bucket of rows and lengths, with and without adapters.

    The inputs of a graph are fixed tensors that are filled before each replay. The surplus rows of
    a bucket write to `spare`, a slot that is never assigned to a sequence.
    """

    def __init__(self, step: Step, spare: int, limit: int, capture: Capture):
        self._step, self._spare, self._limit, self._capture = step, spare, limit, capture
        self._graphs: dict[Hashable, _Graph] = {}
        self._version = 0

    def run(self, tokens: torch.Tensor, batch: Batch, version: int) -> torch.Tensor:
        """Logits (rows, vocabulary). A new `version` of the bank invalidates all graphs."""
        if version != self._version:
            self._graphs.clear()
            self._version = version
        rows = tokens.shape[0]
        key = (row_bucket(rows), length_bucket(batch.longest, self._limit), batch.adapted)
        if key not in self._graphs:
            self._graphs[key] = self._captured(*key, device=tokens.device)
        graph = self._graphs[key]
        for buffer, values, filler in (
            (graph.tokens, tokens, 0),
            (graph.batch.slots, batch.slots, self._spare),
            (graph.batch.positions, batch.positions, 0),
            (graph.batch.bank, batch.bank, -1),
        ):
            buffer[:rows].copy_(values)
            buffer[rows:].fill_(filler)
        return graph.replay()[:rows]

    def _captured(self, rows: int, longest: int, adapted: bool, device: torch.device) -> _Graph:
        def ints(value: int) -> torch.Tensor:
            return torch.full((rows,), value, dtype=torch.int32, device=device)

        tokens = torch.zeros(rows, dtype=torch.long, device=device)
        batch = Batch(ints(self._spare), ints(0), ints(-1), longest, adapted)
        return _Graph(tokens, batch, self._capture(lambda: self._step(tokens, batch)))


def capture_on_cuda(work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Warm up on a side stream, as CUDA graphs require, then record."""
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
