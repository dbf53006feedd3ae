"""Jobs taken apart into rows, and which of the waiting rows make up the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from align.inference.types import GenerationRequest
from serve.batching.jobs import Event, GenerateJob

#: Below this the softmax overflows; the API's meaning of a temperature near zero is greedy.
_COLDEST = 1e-3
_SEEDS = 2**63


@dataclass(eq=False)
class Order:
    """A job on its way, with the queue that its events go to."""

    job: GenerateJob
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    cancelled: bool = False
    prompt_ids: list[list[int]] | None = None  # None until tokenised
    max_tokens: int = 0
    over: bool = False  # refused: its other rows are dropped

    @property
    def adapter_id(self) -> str | None:
        """Of the adapter it needs."""
        return self.job.adapter.adapter_id if self.job.adapter else None


@dataclass(frozen=True, eq=False)
class Row:
    """One completion of an order."""

    order: Order
    index: int

    def request(self) -> GenerationRequest:
        """What the engine is asked for; the order must be tokenised."""
        job, prompts = self.order.job, self.order.prompt_ids
        assert prompts is not None
        greedy = job.temperature < _COLDEST or job.top_p == 0
        # Each row has its own stream of random numbers, or n completions would be the same.
        seed = None if job.seed is None else (job.seed + self.index) % _SEEDS
        return GenerationRequest(
            prompt_ids=prompts[self.index // job.n],
            adapter=self.order.adapter_id,
            max_new_tokens=self.order.max_tokens,
            temperature=0.0 if greedy else job.temperature,
            top_p=1.0 if greedy else job.top_p,
            top_k=job.top_k,
            seed=seed,
            stop=job.stop,
        )


def pick(waiting: deque[Row], rows: int, adapters: int) -> list[Row]:
    """Take the next batch out of `waiting`, oldest first: at most `rows` of them.

    At most `adapters` different adapters fit the engine at once; a row that would need one more
    keeps its place for the next batch. Cancelled and refused rows are dropped.
    """
    batch: list[Row] = []
    held: set[str] = set()
    later: list[Row] = []
    while waiting and len(batch) < rows:
        row = waiting.popleft()
        if row.order.cancelled or row.order.over:
            continue
        identity = row.order.adapter_id
        if identity is not None and identity not in held and len(held) >= adapters:
            later.append(row)
            continue
        if identity is not None:
            held.add(identity)
        batch.append(row)
    waiting.extendleft(reversed(later))
    return batch
