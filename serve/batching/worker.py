"""One engine and the loop that feeds it: batches what waits, streams text, drops hung-up rows."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError

from align.errors import AligneryError
from align.inference.types import Engine
from serve.batching.adapters import AdapterCache
from serve.batching.jobs import (
    Accepted,
    AdapterRef,
    Chat,
    Done,
    Event,
    GenerateJob,
    Outcome,
    Prompt,
    Refused,
    ScoreJob,
    Text,
)
from serve.batching.orders import Order, Row, pick

_log = logging.getLogger("ray.serve")

#: Seconds that a first row waits for others that arrive with it.
GATHER_SECONDS = 0.005


@dataclass(frozen=True)
class Limits:
    """What one replica takes on."""

    rows: int = 32  # in one batch
    adapters: int = 16  # loaded at once
    waiting: int = 1024  # rows in the queue; more are refused with 503
    default_tokens: int = 512  # of a completion whose request names no number


class Worker:
    """`EngineClient` over an engine in this process. Every call to the engine is on one thread.

    `folder_of` fetches an adapter's verified files; `tokenize` encodes plain text. To be used
    from one event loop.
    """

    def __init__(
        self,
        engine: Engine,
        folder_of: Callable[[AdapterRef], Path],
        tokenize: Callable[[str], list[int]],
        limits: Limits,
    ) -> None:
        self._engine = engine
        self._adapters = AdapterCache(engine, folder_of, limits.adapters)
        self._tokenize = tokenize
        self._limits = limits
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._waiting: deque[Row] = deque()
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feeding: asyncio.Task[None] | None = None

    async def complete(self, job: GenerateJob) -> Outcome | Refused:
        """Do the job and return everything at its end."""
        prompt_tokens, done = 0, []
        async for events in self.stream(job):
            for event in events:
                if isinstance(event, Refused):
                    return event
                if isinstance(event, Accepted):
                    prompt_tokens = event.prompt_tokens
                elif isinstance(event, Done):
                    done.append(event)
        return Outcome(prompt_tokens, tuple(sorted(done, key=lambda one: one.row)))

    async def stream(self, job: GenerateJob) -> AsyncGenerator[list[Event], None]:
        """Do the job and yield what is new since the last time. Closing it cancels the job."""
        if len(self._waiting) + job.rows > self._limits.waiting:
            yield [_overloaded(len(self._waiting))]
            return
        order = Order(job)
        self._enqueue(order)
        left = job.rows
        try:
            while left:
                events = [await order.events.get()]
                while not order.events.empty():
                    events.append(order.events.get_nowait())
                yield _merged(events)
                left -= sum(isinstance(event, Done) for event in events)
                if any(isinstance(event, Refused) for event in events):
                    return
        finally:
            order.cancelled = True

    async def score(self, job: ScoreJob) -> list[float] | Refused:
        """A score for each conversation, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._score, job)

    async def ready(self) -> bool:
        """A worker is made with a loaded engine, so it is ready from the start."""
        return True

    def _enqueue(self, order: Order) -> None:
        if self._feeding is None:
            self._loop = asyncio.get_running_loop()
            self._feeding = self._loop.create_task(self._feed(self._loop))
        self._waiting.extend(Row(order, index) for index in range(order.job.rows))
        self._arrived.set()

    async def _feed(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await asyncio.sleep(GATHER_SECONDS)
            while batch := pick(self._waiting, self._limits.rows, self._limits.adapters):
                await loop.run_in_executor(self._thread, self._run, batch)

    # From here on: on the engine's thread.

    def _run(self, batch: list[Row]) -> None:
        try:
            self._generate(self._prepared(batch))
        except Exception as error:  # one bad batch must not end the loop that serves all others
            _log.exception("a batch failed")
            for order in {row.order for row in batch}:
                message = f"generation failed: {type(error).__name__}: {error}"
                self._refuse(order, Refused(500, message, "generation_failed"))

    def _generate(self, rows: list[Row]) -> None:
        def on_text(place: int, text: str) -> bool:
            row = rows[place]
            if text and row.order.job.streamed:
                self._post(row.order, Text(row.index, text))
            return not row.order.cancelled

        completions = self._engine.generate([row.request() for row in rows], on_text)
        for row, one in zip(rows, completions, strict=True):
            done = Done(row.index, one.text, len(one.token_ids), one.finish_reason)
            self._post(row.order, done)

    def _prepared(self, batch: list[Row]) -> list[Row]:
        """Rows whose order is tokenised, fits, and has its adapter loaded; others are refused."""
        orders = list(dict.fromkeys(row.order for row in batch))
        failed = self._adapters.require(order.job.adapter for order in orders if order.job.adapter)
        for order in orders:
            if (error := failed.get(order.adapter_id or "")) is not None:
                self._refuse(order, _unavailable(error))
            elif order.prompt_ids is None:
                self._accept(order)
        return [row for row in batch if not row.order.over]

    def _accept(self, order: Order) -> None:
        try:
            prompt_ids = [self._encode(prompt) for prompt in order.job.prompts]
        except TemplateError as error:
            self._refuse(order, _no_template(error))
            return
        longest = max(len(ids) for ids in prompt_ids)
        room = self._engine.context_length - longest
        wanted = order.job.max_tokens
        if room < (wanted or 1):
            param = "prompt" if isinstance(order.job.prompts[0], str) else "messages"
            self._refuse(order, _too_long(longest, wanted, self._engine.context_length, param))
            return
        order.max_tokens = wanted or min(room, self._limits.default_tokens)
        order.prompt_ids = prompt_ids
        self._post(order, Accepted(sum(len(ids) for ids in prompt_ids)))

    def _encode(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            return self._tokenize(prompt)
        return self._engine.tokenize_chat(prompt)

    def _score(self, job: ScoreJob) -> list[float] | Refused:
        failed = self._adapters.require([job.adapter])
        if failed:
            return _unavailable(failed[job.adapter.adapter_id])
        try:
            longest = max(len(self._encode_whole(one)) for one in job.conversations)
        except TemplateError as error:
            return _no_template(error)
        if longest > self._engine.context_length:
            return _too_long(longest, None, self._engine.context_length, "messages")
        return self._engine.score(job.conversations, job.adapter.adapter_id)

    def _encode_whole(self, conversation: Chat) -> list[int]:
        return self._engine.tokenize_chat(conversation, generate=False)

    def _refuse(self, order: Order, refused: Refused) -> None:
        order.over = True
        self._post(order, refused)

    def _post(self, order: Order, event: Event) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(order.events.put_nowait, event)


def _merged(events: list[Event]) -> list[Event]:
    """The same events with neighbouring texts of one row joined."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, Text) and isinstance(last, Text) and last.row == event.row:
            result[-1] = Text(event.row, last.text + event.text)
        else:
            result.append(event)
    return result


def _overloaded(waiting: int) -> Refused:
    return Refused(503, f"{waiting} completions are waiting already; try again soon", "overloaded")


def _unavailable(error: AligneryError) -> Refused:
    return Refused(503, f"the adapter cannot be loaded: {error}", "adapter_unavailable")


def _no_template(error: TemplateError) -> Refused:
    message = f"the base's chat template cannot render these messages: {error}"
    return Refused(400, message, "invalid_value", "messages")


def _too_long(tokens: int, wanted: int | None, context: int, param: str) -> Refused:
    asked = f" and {wanted} more are asked for" if wanted else ""
    return Refused(
        400,
        f"this model's context is {context} tokens, but the prompt has {tokens}{asked}; "
        "shorten the prompt or lower max_tokens",
        "context_length_exceeded",
        param,
    )
