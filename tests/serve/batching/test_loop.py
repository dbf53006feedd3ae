"""The engine's thread: work between two steps, in order, and what fails alone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from align.errors import GpuLost
from serve.batching.engine_metrics import EngineMeter
from serve.batching.jobs import Accepted, Done, GenerateJob, Refused, Text, Tokens
from serve.batching.loop import EngineLoop
from serve.batching.queued_request import QueuedRequest
from tests.serve.serve_fakes import CONTEXT, FakeEngine, FakeVocabulary
from tests.waiting import await_until

CHAT = ({"role": "user", "content": "hello"},)


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def loop(engine):
    return EngineLoop(engine, FakeVocabulary(engine.words), 16, EngineMeter())


async def events_of(order):
    """All events of a request, to its last."""
    await asyncio.wait_for(order.ended.wait(), 60)
    return [order.events.get_nowait() for _ in range(order.events.qsize())]


def test_a_request_is_accepted_written_and_done(loop):
    async def go():
        order = QueuedRequest(GenerateJob((CHAT,), seed=3, streamed=True))
        loop.take(order)
        return await events_of(order)

    accepted, *texts, done = asyncio.run(go())
    assert accepted == Accepted(5)
    assert all(isinstance(one, Text) for one in texts) and isinstance(done, Done)
    assert "".join(one.text for one in texts) == done.text == "base hears 5 seed 3"


def test_what_cannot_be_taken_is_refused_and_others_are_not(loop):
    async def go():
        long = QueuedRequest(GenerateJob(("x" * CONTEXT,)))
        good = QueuedRequest(GenerateJob(("hello",)))
        loop.take(long)
        loop.take(good)
        return await events_of(long), await events_of(good)

    (refused,), good = asyncio.run(go())
    assert isinstance(refused, Refused) and refused.code == "context_length_exceeded"
    assert isinstance(good[-1], Done)


def test_work_is_done_on_one_thread_in_its_order(loop, engine):
    done = []

    async def go():
        for number in range(100):
            loop.send(lambda number=number: done.append((number, threading.get_ident())))
        return await loop.call(threading.get_ident)

    thread = asyncio.run(go())
    assert done == [(number, thread) for number in range(100)]
    assert thread != threading.get_ident()


def test_what_a_call_raises_comes_to_its_caller_and_ends_nothing(loop):
    async def go():
        with pytest.raises(ZeroDivisionError):
            await loop.call(lambda: 1 / 0)
        return await loop.call(lambda: "goes on")

    assert asyncio.run(go()) == "goes on"


def test_a_chat_and_a_text_have_the_tokens_that_the_engine_reads(loop):
    async def go():
        return await loop.tokenize(CHAT, True), await loop.tokenize("ab", False)

    assert asyncio.run(go()) == (Tokens((1,) * 5, CONTEXT), Tokens((1, 1), CONTEXT))


def test_after_a_device_error_everything_is_refused_and_the_engine_is_left_alone(loop, engine):
    error = RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be")

    async def go():
        running, later = (QueuedRequest(GenerateJob((CHAT,))) for _ in range(2))
        engine.lose(error)
        loop.take(running)
        first = await events_of(running)
        steps = engine.failed_steps
        loop.take(later)
        second = await events_of(later)
        with pytest.raises(GpuLost):
            await loop.call(lambda: engine.step())
        return first[-1], second, steps

    first, (second,), steps = asyncio.run(go())
    for refused in (first, second):
        assert (refused.status, refused.code) == (503, "engine_lost")
        assert "'device-side assert triggered'" in refused.message and "\n" not in refused.message
    assert isinstance(loop.lost, GpuLost)
    assert engine.failed_steps == steps + 1  # that of the test itself


def test_rows_end_when_the_gpu_is_lost_outside_of_a_step(loop, engine):
    def load():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    async def go():
        engine.pause()
        order = QueuedRequest(GenerateJob((CHAT,)))
        loop.take(order)
        await await_until(lambda: engine.requests, "the engine has the request")
        load_call = asyncio.create_task(loop.call(load))
        await asyncio.sleep(0)
        engine.resume()
        with pytest.raises(GpuLost):
            await load_call
        return await events_of(order)

    *_, refused = asyncio.run(go())
    assert (refused.status, refused.code) == (503, "engine_lost")
