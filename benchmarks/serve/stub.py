"""A deployment that only streams: what Ray and HTTP take with no engine behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from ray import serve

from cluster.compat.ray_serve import listen_on_node_address
from serve.app import AppArgs, compose
from serve.batching.jobs import (
    Accepted,
    AdapterRef,
    Done,
    Event,
    GenerateJob,
    Outcome,
    Text,
)

#: Tokens of its every prompt.
PROMPT = 60


@serve.deployment
class StubReplica:
    """Answers as `EngineReplica` does, with a word for each token that is asked for, at once."""

    def __init__(self, args: AppArgs, tally: Any) -> None:
        listen_on_node_address()

    async def stream(self, job: GenerateJob) -> AsyncGenerator[list[Event], None]:
        """A word at a time, others' turns between."""
        yield [Accepted(PROMPT)]
        tokens = job.max_tokens or 1
        for _ in range(tokens):
            await asyncio.sleep(0)
            yield [Text(0, "word ")]
        yield [Done(0, "word " * tokens, tokens, "length")]

    async def complete(self, job: GenerateJob) -> Outcome:
        """All words at once."""
        tokens = job.max_tokens or 1
        return Outcome(PROMPT, (Done(0, "word " * tokens, tokens, "length"),))

    async def prepare(self, adapter: AdapterRef) -> None:
        """Nothing to load."""

    async def keep(self, adapters: tuple[AdapterRef, ...]) -> None:
        """Nothing to keep."""

    async def ready(self) -> bool:
        """From the start."""
        return True


def build_stub(args: AppArgs) -> serve.Application:
    """`serve.app.build` with the stub for an engine."""
    return compose(args, StubReplica)
