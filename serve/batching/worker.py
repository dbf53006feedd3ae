"""The worker around an engine: it accepts jobs up to a limit, and returns their events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

from align.chat_encoder import PLAIN_CHAT, ChatOptions
from align.errors import AligneryError
from align.inference.options import EngineOptions
from align.inference.types import Engine
from serve.batching.adapters import AdapterCache
from serve.batching.engine_metrics import EngineMeter
from serve.batching.errors import overloaded, refused_by, too_many
from serve.batching.jobs import (
    Accepted,
    AdapterRef,
    Done,
    Event,
    GenerateJob,
    Job,
    Outcome,
    Prompt,
    Refused,
    Scored,
    ScoreJob,
    Scores,
    Text,
    Tokens,
)
from serve.batching.loop import EngineLoop
from serve.batching.queued_request import QueuedRequest
from serve.batching.token_text import Vocabulary
from serve.metrics.snapshots import watch

#: The longest time that a token is delayed to be sent together with others, in seconds.
LONGEST_PAUSE = 0.2


@dataclass(frozen=True)
class ReplicaLimits:
    """Limits of a replica."""

    slots: int = EngineOptions.slots  # rows that the engine works on at once
    waiting: int = 1024  # rows that wait; more are refused with status 503
    known_adapters: int = 128  # adapters that stay loaded
    known_bytes: int = 4 * 2**30  # of these, in the memory of the host
    adapter_seconds: float = 60  # a request's longest wait for its adapter's files
    default_tokens: int = 512  # of a completion without `max_tokens`
    stream_parts: int = 150  # per second, of all streams together


class Worker:
    """`EngineClient` over an engine in this process. The engine runs on a single thread.

    `folder_of` fetches an adapter's verified files. Methods are for one event loop.
    """

    def __init__(
        self,
        engine: Engine,
        folder_of: Callable[[AdapterRef], Path],
        vocabulary: Vocabulary,
        limits: ReplicaLimits,
    ) -> None:
        self.meter = EngineMeter()
        self._loop = EngineLoop(engine, vocabulary, limits.default_tokens, self.meter)
        self._adapters = AdapterCache(
            engine,
            self._loop,
            folder_of,
            limits.known_adapters,
            limits.known_bytes,
            limits.adapter_seconds,
        )
        self._limits = limits
        self._unfinished = 0  # rows
        self._streams = 0
        watch(
            self.meter.registry,
            "alignery_rows_unfinished",
            "Completions and scores that wait or are being written.",
            lambda: self._unfinished,
        )
        watch(
            self.meter.registry,
            "alignery_known_adapters",
            "Adapters that engines have in memory.",
            lambda: self._adapters.known,
        )

    async def complete(self, job: GenerateJob) -> Outcome | Refused:
        """Do the job and return its whole result."""
        events = await self._all(job)
        if isinstance(events, Refused):
            return events
        done = [event for event in events if isinstance(event, Done)]
        return Outcome(_prompt_tokens(events), tuple(sorted(done, key=lambda event: event.row)))

    async def stream(self, job: Job) -> AsyncGenerator[list[Event], None]:
        """Do the job and yield new events as they come. Closing the generator cancels the job.

        With few streams each token is sent separately, with many several are sent together.
        """
        if (refused := self._overload(job.rows)) is not None:
            yield [refused]
            return
        remaining, streams = job.rows, int(isinstance(job, GenerateJob) and job.streamed)
        self._unfinished += remaining
        self._streams += streams
        try:
            try:
                await self._adapters.acquire(job.adapter)
            except AligneryError as error:
                yield [refused_by(error)]
                return
            order = QueuedRequest(job)
            self._loop.take(order)
            try:
                while remaining:
                    events = await _waiting(order)
                    ended = sum(isinstance(event, Done | Scored) for event in events)
                    remaining -= ended
                    self._unfinished -= ended
                    yield _merged(events)
                    if any(isinstance(event, Refused) for event in events):
                        return
                    if remaining and any(isinstance(event, Text) for event in events):
                        await _rest(order, self._pause())
            finally:
                if remaining:
                    self._loop.cancel(order)
                self._adapters.release(job.adapter)
        finally:
            self._unfinished -= remaining
            self._streams -= streams

    async def score(self, job: ScoreJob) -> Scores | Refused:
        """A score for each conversation; they share batches with completions."""
        events = await self._all(job)
        if isinstance(events, Refused):
            return events
        scores = {event.row: event.score for event in events if isinstance(event, Scored)}
        return Scores(_prompt_tokens(events), tuple(scores[row] for row in range(job.rows)))

    async def tokenize(
        self, prompt: Prompt, generate: bool, chat: ChatOptions = PLAIN_CHAT
    ) -> Tokens | Refused:
        """See `EngineClient`."""
        try:
            return await self._loop.tokenize(prompt, generate, chat)
        except Exception as error:
            return refused_by(error)

    async def prepare(self, adapter: AdapterRef) -> Refused | None:
        """Load the adapter, so that requests need not wait for it; the refusal if that fails."""
        try:
            await self._adapters.acquire(adapter)
        except Exception as error:  # any error, such as out of memory
            return refused_by(error)
        self._adapters.release(adapter)
        return None

    async def keep(self, adapters: tuple[AdapterRef, ...]) -> None:
        """Load these adapters soon and retain them, in place of those of the previous call."""
        self._adapters.keep(adapters)

    async def ready(self) -> bool:
        """Whether the engine can work. It is loaded when the worker is constructed."""
        return self._loop.lost is None

    async def check_health(self) -> None:
        """GpuLost after a device error. Ray Serve calls this, and replaces a replica that fails."""
        if self._loop.lost is not None:
            raise self._loop.lost

    async def _all(self, job: Job) -> list[Event] | Refused:
        """All events of a job until its end, or its refusal."""
        collected: list[Event] = []
        async with aclosing(self.stream(job)) as batches:
            async for events in batches:
                collected += events
        refused = (event for event in collected if isinstance(event, Refused))
        return next(refused, collected)

    def _pause(self) -> float:
        """Seconds between two parts of a stream.

        Sending a part takes a millisecond or more in several processes, whatever its size. If these
        share the engine's processor, the engine stops meanwhile.
        """
        return min(LONGEST_PAUSE, self._streams / self._limits.stream_parts)

    def _overload(self, rows: int) -> Refused | None:
        max_rows = self._limits.slots + self._limits.waiting
        if rows > max_rows:
            return too_many(rows, max_rows)
        if self._unfinished + rows > max_rows:
            return overloaded(self._unfinished - self._limits.slots)
        return None


def _prompt_tokens(events: list[Event]) -> int:
    return sum(event.prompt_tokens for event in events if isinstance(event, Accepted))


async def _waiting(order: QueuedRequest) -> list[Event]:
    """Wait for an event; returns it with all others that are in the queue."""
    events = [await order.events.get()]
    while not order.events.empty():
        events.append(order.events.get_nowait())
    order.ended.clear()
    return events


async def _rest(order: QueuedRequest, seconds: float) -> None:
    """Wait `seconds` for more events, or until a row or the job has ended."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await order.ended.wait()


def _merged(events: list[Event]) -> list[Event]:
    """The same events with the texts of each row joined."""
    merged: list[Event] = []
    indices: dict[int, int] = {}  # of each row's text in `merged`
    for event in events:
        if not isinstance(event, Text):
            merged.append(event)
        elif (index := indices.get(event.row)) is None:
            indices[event.row] = len(merged)
            merged.append(event)
        else:
            first = merged[index]
            assert isinstance(first, Text)
            merged[index] = _joined(first, event)
    return merged


def _joined(first: Text, second: Text) -> Text:
    both = first.logprobs is not None and second.logprobs is not None
    logprobs = (*(first.logprobs or ()), *(second.logprobs or ())) if both else None
    return Text(first.row, first.text + second.text, logprobs, first.tokens + second.tokens)
