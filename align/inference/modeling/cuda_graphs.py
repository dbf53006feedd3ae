"""Decode steps captured as CUDA graphs: a single launch instead of hundreds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakSet

import torch

from align.inference.modeling.kv_cache import ropes
from align.inference.scheduling.decode_buckets import Bucket, bucket_of, capturable

_log = logging.getLogger(__name__)

#: Runs a step: inputs (4, rows), longest, adapted (see `DecodeGraphs.run`) → (rows, vocabulary).
Step = Callable[[torch.Tensor, int, bool], torch.Tensor]
#: Captures a function that works on fixed tensors; the result repeats its work on them.
Capture = Callable[[Callable[[], None]], Callable[[], None]]

_FILLERS = (0, 0, -1)  # token, position and bank slot of a surplus row


class Captured(NamedTuple):
    """The number of graphs that there are, and why a capture failed; empty if none has."""

    graphs: int = 0
    failure: str = ""


class DecodeGraphs:
    """Decode steps of padded shapes, replayed where their shape has been captured.

    Steps of a shape that has not been captured (yet) do the same work kernel by kernel, with the
    same padding. Nothing is captured in `run`: `capture` and `capture_missed` say when.

    All graphs share their inputs and their logits, tensors for `slots` rows that are allocated
    here. A graph's intermediate results lie in the memory of `record`, which may be that of all
    other graphs: they are dead once the logits are written. Surplus rows write to the KV slot
    number `slots`, which no sequence has.
    """

    def __init__(self, step: Step, logits: torch.Tensor, limit: int, record: Capture):
        """`logits` (slots, vocabulary) is overwritten by each step; `limit` is a slot's tokens."""
        self._step, self._logits, self._record = step, logits, record
        self._slots = logits.shape[0]
        self._inputs = torch.zeros(4 * self._slots, dtype=torch.int32, device=logits.device)
        self._failure = ""  # why a capture failed; none is tried afterwards
        self.restart(limit)

    def restart(self, limit: int) -> None:
        """Discard all graphs, since keys and values have moved to slots of `limit` tokens."""
        self._finish_replays()
        self._graphs: dict[tuple[Bucket, bool], Callable[[], None]] = {}
        self._limit, self._version = limit, 0
        self._missed: set[tuple[Bucket, bool]] = set()
        self._shapes = capturable(self._slots, limit)
        self._pending = [] if self._failure else [(shape, False) for shape in self._shapes]

    def run(
        self,
        inputs: torch.Tensor,
        longest: int,
        adapted: bool,
        version: int,
        tokens: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits (rows, vocabulary), valid until the next call, as they lie in a shared tensor.

        `inputs` (4, rows), int32, are tokens, KV slots, positions and bank slots; `tokens` (rows,),
        on the device, replace the first of these. Whatever reads the logits must have been queued
        on the current stream before the next call.
        """
        self._follow(version)
        rows = inputs.shape[1]
        shape = bucket_of(rows, longest, self._slots, self._limit)
        self._fill(shape.rows, inputs)
        if tokens is not None:
            self._views(shape.rows)[0, :rows].copy_(tokens)
        if (replay := self._graphs.get((shape, adapted))) is None:
            self._missed.add((shape, adapted))
            self._work(shape, adapted)
        else:
            replay()
        return self._logits[:rows]

    def capture(self, version: int) -> Captured:
        """Capture every shape, the largest first; `version` is the bank's."""
        self._follow(version)
        while self._pending:
            self._capture(*self._pending[0])
        return Captured(len(self._graphs), self._failure)

    def capture_missed(self, version: int) -> None:
        """Capture the largest shape of which steps have run without a graph, if there is any.

        So the shapes that are in use have graphs again soon after the bank has grown, and no step
        waits for more than one capture.
        """
        self._follow(version)
        missed = next((key for key in self._pending if key in self._missed), None)
        if missed is not None:
            self._capture(*missed)

    def _capture(self, shape: Bucket, adapted: bool) -> None:
        """Capture a pending shape; after an error nothing is pending any more."""
        self._pending.remove((shape, adapted))
        self._fill(shape.rows, torch.empty(4, 0, dtype=torch.int32))
        try:
            self._graphs[shape, adapted] = self._record(partial(self._work, shape, adapted))
        except RuntimeError as error:
            self._failure = str(error).strip().partition("\n")[0] or type(error).__name__
            self._pending.clear()
            _log.warning(
                "no further decode steps are captured as CUDA graphs, so generation is slower: "
                "%d rows of %d tokens: %s",
                shape.rows,
                shape.longest,
                self._failure,
            )

    def _follow(self, version: int) -> None:
        """Discard graphs that read factors which a new `version` of the bank has moved."""
        if version == self._version:
            return
        self._version = version
        self._missed.clear()
        self._finish_replays()
        self._graphs = {key: replay for key, replay in self._graphs.items() if not key[1]}
        if not self._failure:
            waiting = [key for key in self._pending if not key[1]]
            waiting += [(shape, True) for shape in self._shapes]
            self._pending = sorted(waiting, key=lambda key: -key[0].positions)

    def _finish_replays(self) -> None:
        """Wait for the card: a replay that is queued still uses the memory of its graph."""
        if self._inputs.is_cuda:
            torch.cuda.current_stream().synchronize()

    def _fill(self, rows: int, inputs: torch.Tensor) -> None:
        """Write a step's inputs (4, rows) and those of its surplus rows in a single transfer."""
        token, position, bank = _FILLERS
        fillers = torch.tensor([token, self._slots, position, bank], dtype=torch.int32)
        padded = fillers[:, None].repeat(1, rows)
        padded[:, : inputs.shape[1]] = inputs
        # From pinned memory the host need not wait for the card.
        source = padded.pin_memory() if self._inputs.is_cuda else padded
        self._views(rows).copy_(source, non_blocking=True)

    def _views(self, rows: int) -> torch.Tensor:
        return self._inputs[: 4 * rows].view(4, rows)

    def _work(self, shape: Bucket, adapted: bool) -> None:
        logits = self._step(self._views(shape.rows), shape.longest, adapted)
        self._logits[: shape.rows].copy_(logits)


def capture_for(config: Any, device: torch.device) -> Capture | None:
    """How decode steps of a model on `device` are captured; None if they cannot be.

    Dynamic RoPE reads the sequence length back from the device in each step (transformers 5.23,
    `dynamic_rope_update`), which no graph can hold.
    """
    if device.type != "cuda":
        return None
    if any("dynamic" in rope["rope_type"] for rope in ropes(config)):
        _log.warning(
            "this base's dynamic RoPE cannot be captured in CUDA graphs, so generation is slower"
        )
        return None
    return CudaCapture()


class CudaCapture:
    """Captures work on a stream, into a memory pool that all its graphs share.

    The caching allocator reuses what an earlier graph of the pool has freed, since replays follow
    each other on a stream; and only on the stream on which it was freed, hence a stream for all.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._pool: Any = None
        self._graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._waits_for_nothing = False

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Run `work` once, so that libraries initialise themselves and load kernels; capture it.

        RuntimeError if `work` makes the host wait for the card, or the capture fails.
        """
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                work()
                if not self._waits_for_nothing:
                    _refuse_waiting(work)
                    self._waits_for_nothing = True
        finally:
            current.wait_stream(self._stream)
        if not len(self._graphs):
            # torch accepts no pool that has lost its last graph, except where it has noticed that
            # the pool's memory is gone.
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with (
            # torch.cuda.graph leaves its own stream the current one if it cannot end a capture.
            torch.cuda.stream(current),
            # Calls of other threads, such as those that fetch adapters, must not end the capture.
            torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ),
        ):
            work()
        self._graphs.add(graph)
        return graph.replay


def _refuse_waiting(work: Callable[[], None]) -> None:
    """RuntimeError if `work` makes the host wait for the card, as routing to experts may.

    Within a capture that would end the capture in a way after which torch's allocator goes on as if
    it were still under way. `work` has run before, since libraries may wait as they start.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this mode a prototype
        torch.cuda.set_sync_debug_mode("error")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
