"""The engine's thread: requests join and leave between steps; each step's events are delivered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from align.chat_encoder import PLAIN_CHAT, ChatOptions
from align.errors import GpuLost
from align.gpu_errors import lost_gpu
from align.inference.types import Engine, GenerationRequest, Traffic
from serve.batching.engine_metrics import EngineMeter
from serve.batching.errors import failed, refused_by
from serve.batching.jobs import (
    Accepted,
    Done,
    Event,
    GenerateJob,
    Prompt,
    Refused,
    Scored,
    ScoreJob,
    Tokens,
)
from serve.batching.queued_request import QueuedRequest, generation_requests, score_requests
from serve.batching.sequence_stream import SequenceStream
from serve.batching.token_text import Vocabulary

_log = logging.getLogger("ray.serve")

T = TypeVar("T")

#: Pieces of work done between two steps: tokenising many prompts at once would stall running rows.
INTAKE = 32


class EngineLoop:
    """Steps `engine` on a separate thread while there is work to do.

    `take`, `cancel`, `call` and `send` are for one event loop. Their work is done between two
    steps, in the order of the calls, and nothing else uses the engine.

    After a device error of the GPU, `lost` says so: all requests are refused from then on.
    """

    def __init__(
        self, engine: Engine, vocabulary: Vocabulary, default_tokens: int, meter: EngineMeter
    ) -> None:
        self.lost: GpuLost | None = None
        self._engine = engine
        self._meter = meter
        self._vocabulary = vocabulary
        self._default_tokens = default_tokens
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._inbox: deque[Callable[[], None]] = deque()
        self._rows: dict[int, SequenceStream] = {}  # by the engine's sequence number
        self._outbox: list[tuple[QueuedRequest, Event]] = []
        self._listener: asyncio.AbstractEventLoop | None = None

    def take(self, order: QueuedRequest) -> None:
        """Submit a request to the engine; its events are put into its queue."""
        self.send(partial(self._take, order))

    def cancel(self, order: QueuedRequest) -> None:
        """Cancel the rest of a request. Events may still come until the current step ends."""
        order.cancelled = True
        self.send(partial(self._drop, order))

    async def tokenize(
        self, prompt: Prompt, generate: bool, chat: ChatOptions = PLAIN_CHAT
    ) -> Tokens:
        """The prompt's tokens as the engine reads them. Raises what the chat template raises."""
        ids = await self.call(partial(self._prompt, prompt, generate, chat))
        return Tokens(tuple(ids), self._engine.context_length)

    async def call(self, work: Callable[[], T]) -> T:
        """Run `work` on the engine's thread; returns or raises what it does."""
        future: Future[T] = Future()
        self.send(partial(self._fulfil, future, work))
        return await asyncio.wrap_future(future)

    def send(self, work: Callable[[], None]) -> None:
        """Run `work` on the engine's thread, without waiting. Its exceptions are logged."""
        self._listener = asyncio.get_running_loop()
        self._inbox.append(work)
        # One submission for each piece of work: the first does all that is queued, the others none.
        self._thread.submit(self._run).add_done_callback(_log_failure)

    # The methods below run on the engine's thread.

    def _run(self) -> None:
        going = True
        while going and (self._inbox or self._engine.busy):
            for _ in range(min(INTAKE, len(self._inbox))):
                self._do(self._inbox.popleft())
            self._flush()  # refusals need not wait for a step
            if self._engine.busy:
                going = self._step()
            self._flush()

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # other requests continue, and nobody reads this work's future
            self._judged(error)
            _log.exception("the engine could not do what it was sent")

    def _take(self, order: QueuedRequest) -> None:
        if order.cancelled:
            return
        if self.lost is not None:
            self._post(order, refused_by(self.lost))
            return
        try:
            prompts = self._encoded(order.job)
            requests = self._requests(order.job, prompts)
            if isinstance(requests, Refused):
                self._post(order, requests)
                return
            for index, request in enumerate(requests):
                for sequence in self._engine.submit(request):
                    clock = self._meter.row(order.job.adapter, order.arrived)
                    length = len(request.prompt_ids)
                    self._rows[sequence] = SequenceStream(
                        order, index, self._vocabulary, clock, length
                    )
                    order.sequences.add(sequence)
            self._post(order, Accepted(sum(len(ids) for ids in prompts)))
        except Exception as error:  # a bad request must not end the loop, which serves all others
            self._drop(order)
            self._post(order, refused_by(self._judged(error)))

    def _encoded(self, job: GenerateJob | ScoreJob) -> list[list[int]]:
        if isinstance(job, ScoreJob):
            return [self._prompt(chat, generate=False) for chat in job.conversations]
        return [self._prompt(prompt, job.generate, job.chat) for prompt in job.prompts]

    def _prompt(self, prompt: Prompt, generate: bool, chat: ChatOptions = PLAIN_CHAT) -> list[int]:
        if isinstance(prompt, str):
            return self._vocabulary.encode(prompt)
        return self._engine.tokenize_chat(prompt, generate, chat)

    def _requests(
        self, job: GenerateJob | ScoreJob, prompts: list[list[int]]
    ) -> list[GenerationRequest] | Refused:
        context = self._engine.context_length
        if isinstance(job, ScoreJob):
            return score_requests(job, prompts, context)
        return generation_requests(job, prompts, context, self._default_tokens)

    def _drop(self, order: QueuedRequest) -> None:
        for sequence in order.sequences:
            self._engine.cancel(sequence)
            del self._rows[sequence]
        order.sequences.clear()

    def _step(self) -> bool:
        """Do a step. False if further steps would fail, too."""
        if self.lost is not None:
            self._refuse_rows(self.lost)
            return False
        had_rows = bool(self._rows)
        try:
            updates = self._engine.step()
            now = time.monotonic()
            self._count(self._engine.traffic)
            for update in updates:
                row = self._rows.get(update.sequence)
                if row is None:  # cancelled
                    continue
                for event in row.events(update, now):
                    self._post(row.order, event)
                if update.done:
                    del self._rows[update.sequence]
                    row.order.sequences.remove(update.sequence)
        except Exception as error:
            _log.exception("a step of the engine failed")
            self._refuse_rows(self._judged(error))
            return had_rows and self.lost is None
        return True

    def _refuse_rows(self, error: Exception) -> None:
        for order in {row.order for row in self._rows.values()}:
            self._drop(order)
            self._post(order, failed(error))

    def _judged(self, error: Exception) -> Exception:
        """The error to report: `error`, or that the GPU is lost, which is remembered."""
        self.lost = self.lost or lost_gpu(error)
        return self.lost or error

    def _fulfil(self, future: Future[T], work: Callable[[], T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except Exception as error:
            future.set_exception(self._judged(error))
        else:
            future.set_result(result)

    def _count(self, traffic: Traffic) -> None:
        self._meter.step(traffic)
        for sequence, hit in traffic.admitted:
            if (row := self._rows.get(sequence)) is not None:
                row.clock.admitted(hit)

    def _post(self, order: QueuedRequest, event: Event) -> None:
        self._outbox.append((order, event))

    def _flush(self) -> None:
        """Deliver all events at once: waking the event loop costs more than the events do."""
        if self._outbox:
            assert self._listener is not None
            outbox, self._outbox = self._outbox, []
            with suppress(RuntimeError):  # the event loop is closed, so no receiver is left
                self._listener.call_soon_threadsafe(_deliver, outbox)


def _log_failure(future: Future[None]) -> None:
    """Log the future's error, since nobody else reads it."""
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.error("the engine's thread failed", exc_info=error)


def _deliver(outbox: list[tuple[QueuedRequest, Event]]) -> None:
    for order, event in outbox:
        order.events.put_nowait(event)
        if isinstance(event, Done | Scored | Refused):
            order.ended.set()
