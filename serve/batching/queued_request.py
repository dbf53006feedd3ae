"""A job on its way to the engine, and what the engine is asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from align.inference.types import GenerationRequest
from serve.batching.errors import too_few, too_long
from serve.batching.jobs import Event, GenerateJob, Job, Refused, ScoreJob

#: Below this the softmax overflows; the API's meaning of a temperature near zero is greedy.
_COLDEST = 1e-3
_SEEDS = 2**63


@dataclass(eq=False)
class QueuedRequest:
    """A job with the queue that its events go to, and its sequences that the engine works on.

    `ended` is set when an event that ends a row, or all, has come into the queue.
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
    """One request for each row, in their order; refused if a prompt does not fit the context."""
    longest = max(len(ids) for ids in prompts)
    room = context - longest
    if room < (job.max_tokens or 1):
        param = "prompt" if isinstance(job.prompts[0], str) else "messages"
        return too_long(longest, job.max_tokens, context, param)
    tokens = job.max_tokens or min(room, default_tokens)
    if job.min_tokens > tokens:
        return too_few(job.min_tokens, tokens)
    return [_row(job, row, prompts[row // job.n], tokens) for row in range(job.rows)]


def score_requests(
    job: ScoreJob, prompts: Sequence[Sequence[int]], context: int
) -> list[GenerationRequest] | Refused:
    """One request for each conversation; refused if one does not fit the context."""
    longest = max(len(ids) for ids in prompts)
    if longest > context:
        return too_long(longest, None, context, "messages")
    adapter = job.adapter.adapter_id
    return [GenerationRequest(ids, adapter, max_new_tokens=0, score=True) for ids in prompts]


def _row(job: GenerateJob, row: int, prompt: Sequence[int], tokens: int) -> GenerationRequest:
    greedy = job.temperature < _COLDEST or job.top_p == 0
    return GenerationRequest(
        prompt_ids=prompt,
        adapter=job.adapter.adapter_id if job.adapter else None,
        max_new_tokens=tokens,
        temperature=0.0 if greedy else job.temperature,
        top_p=1.0 if greedy else job.top_p,
        top_k=job.top_k,
        presence_penalty=job.presence_penalty,
        frequency_penalty=job.frequency_penalty,
        logit_bias=job.logit_bias,
        # Each row has its own stream of random numbers, or n completions would be the same.
        seed=None if job.seed is None else (job.seed + row) % _SEEDS,
        stop=job.stop,
        stop_ids=job.stop_ids,
        min_new_tokens=job.min_tokens,
        ignore_eos=job.ignore_eos,
        logprobs=job.logprobs,
    )
