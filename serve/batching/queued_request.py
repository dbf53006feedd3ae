"""A job in the engine's queue, and the engine requests that it becomes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from align.inference.types import GenerationRequest
from serve.batching.errors import too_few, too_long
from serve.batching.jobs import Event, GenerateJob, Job, Refused, ScoreJob

#: Lower temperatures are greedy, as in OpenAI's API; the softmax would overflow.
_COLDEST = 1e-3
_SEEDS = 2**63


@dataclass(eq=False)
class QueuedRequest:
    """A job with the queue of its events and the engine's sequences of its rows.

    `ended` is set when an event that ends a row, or the whole job, was put into the queue.
    """

    job: Job
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False
    arrived: float = field(default_factory=time.monotonic)
    sequences: set[int] = field(default_factory=set)


def generation_requests(
    job: GenerateJob, prompts: Sequence[Sequence[int]], context: int, default_tokens: int
) -> list[GenerationRequest] | Refused:
    """An engine request for each row, in their order; Refused if a prompt exceeds the context."""
    longest = max(len(ids) for ids in prompts)
    room = context - longest
    if room < (job.max_tokens or 1):
        param = "prompt" if isinstance(job.prompts[0], str) else "messages"
        return too_long(longest, job.max_tokens, context, param)
    tokens = job.max_tokens or min(room, default_tokens)
    if job.min_new_tokens > tokens:
        return too_few(job.min_new_tokens, tokens)
    return [_row(job, row, prompts[row // job.n], tokens) for row in range(job.rows)]


def score_requests(
    job: ScoreJob, prompts: Sequence[Sequence[int]], context: int
) -> list[GenerationRequest] | Refused:
    """An engine request for each conversation; Refused if any exceeds the context."""
    longest = max(len(ids) for ids in prompts)
    if longest > context:
        return too_long(longest, None, context, "messages")
    adapter = job.adapter.adapter_id
    return [GenerationRequest(ids, adapter, max_new_tokens=0, score=True) for ids in prompts]


def _row(job: GenerateJob, row: int, prompt: Sequence[int], tokens: int) -> GenerationRequest:
    sampling = job.sampling() | {"n": 1}
    if job.temperature < _COLDEST or job.top_p == 0:
        sampling |= {"temperature": 0.0, "top_p": 1.0}
    if job.seed is not None:
        # Each row has its own random numbers, or all n completions would be the same.
        sampling["seed"] = (job.seed + row) % _SEEDS
    adapter = job.adapter.adapter_id if job.adapter else None
    return GenerationRequest(prompt, adapter, tokens, **sampling)
