"""The loop around an engine: batches, streams, cancels, isolates failures."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from serve_fakes import FakeEngine, make_adapter

from serve.batching.jobs import (
    Accepted,
    AdapterRef,
    Done,
    GenerateJob,
    Outcome,
    Refused,
    ScoreJob,
    Text,
)
from serve.batching.orders import Order, Row, pick
from serve.batching.worker import Limits, Worker

CHAT = ({"role": "user", "content": "hello"},)


def adapter(name: str) -> AdapterRef:
    return AdapterRef(f"{name * 8}-id", f"arithmetic/{name}:1")


@pytest.fixture
def make_worker(tmp_path: Path) -> Callable[..., Worker]:
    folder = make_adapter(tmp_path / "adapter", "x")

    def make(engine: FakeEngine, **limits: int) -> Worker:
        return Worker(engine, lambda _: folder, lambda text: [1] * len(text), Limits(**limits))

    return make


def go(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20))


def test_what_waits_together_is_one_batch_with_mixed_adapters(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine)

    async def ask() -> list[Outcome | Refused]:
        jobs = [GenerateJob((CHAT,), adapter(name)) for name in "abab"]
        return await asyncio.gather(*map(worker.complete, [*jobs, GenerateJob((CHAT,))]))

    outcomes = go(ask())
    assert [one.rows[0].text.split()[0] for one in outcomes] == [
        "aaaaaaaa", "bbbbbbbb", "aaaaaaaa", "bbbbbbbb", "base"
    ]  # fmt: skip
    assert [len(batch) for batch in engine.batches] == [5]
    assert len(engine.threads) == 1


def test_more_than_fits_comes_in_several_batches(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine, rows=4)
    outcome = go(worker.complete(GenerateJob((CHAT, "plain text"), n=5, seed=7)))
    assert [len(batch) for batch in engine.batches] == [4, 4, 2]
    assert outcome.prompt_tokens == 5 + 10
    assert [row.text.split()[2] for row in outcome.rows] == ["5"] * 5 + ["10"] * 5
    assert [row.text.split()[4] for row in outcome.rows] == [str(7 + row) for row in range(10)]


def test_pick_leaves_rows_whose_adapter_does_not_fit_for_the_next_batch():
    orders = [Order(GenerateJob((CHAT,), adapter(name))) for name in "abca"]
    waiting = deque(Row(order, 0) for order in orders)
    assert [row.order for row in pick(waiting, 8, 2)] == [orders[0], orders[1], orders[3]]
    assert [row.order for row in pick(waiting, 8, 2)] == [orders[2]]


def test_the_least_recently_used_adapter_is_given_up(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine, adapters=2)

    async def ask() -> None:
        for name in "abac":
            assert isinstance(await worker.complete(GenerateJob((CHAT,), adapter(name))), Outcome)

    go(ask())
    assert engine.loaded == {adapter("a").adapter_id, adapter("c").adapter_id}


def test_a_stream_brings_text_as_it_is_written(make_worker):
    worker = make_worker(FakeEngine(seconds_per_word=0.02))

    async def ask() -> list[list[Any]]:
        return [part async for part in worker.stream(GenerateJob((CHAT,), streamed=True))]

    parts = go(ask())
    events = [event for part in parts for event in part]
    assert len(parts) > 3
    assert isinstance(events[0], Accepted) and isinstance(events[-1], Done)
    assert "".join(one.text for one in events if isinstance(one, Text)) == events[-1].text


def test_a_client_that_hangs_up_frees_its_row_and_no_other(make_worker):
    engine = FakeEngine(seconds_per_word=0.05)
    worker = make_worker(engine)

    async def ask() -> Outcome | Refused:
        stays = asyncio.create_task(worker.complete(GenerateJob((CHAT,))))
        leaves = asyncio.create_task(worker.complete(GenerateJob((CHAT,))))
        streamed = worker.stream(GenerateJob((CHAT,), streamed=True))
        await anext(streamed)
        await streamed.aclose()
        leaves.cancel()
        return await stays

    outcome = go(ask())
    assert outcome.rows[0].finish_reason == "stop"
    assert [len(batch) for batch in engine.batches] == [3]
    assert engine.finished == ["cancelled", "cancelled", "stop"]


def test_an_adapter_that_cannot_be_loaded_fails_alone(make_worker):
    engine = FakeEngine()
    engine.unloadable = {adapter("b").adapter_id}
    worker = make_worker(engine)

    async def ask() -> list[Outcome | Refused]:
        jobs = [GenerateJob((CHAT,), adapter(name)) for name in "ab"]
        return await asyncio.gather(*map(worker.complete, jobs))

    good, bad = go(ask())
    assert isinstance(good, Outcome)
    assert bad.status == 503 and "does not fit" in bad.message


def test_the_loop_survives_a_failed_batch(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine)

    async def ask() -> list[Outcome | Refused]:
        engine.broken = True
        first = await worker.complete(GenerateJob((CHAT,)))
        engine.broken = False
        return [first, await worker.complete(GenerateJob((CHAT,)))]

    bad, good = go(ask())
    assert bad.status == 500 and "out of memory" in bad.message
    assert isinstance(good, Outcome)


@pytest.mark.parametrize(("length", "wanted"), [(200, None), (150, 51), (999, 1)])
def test_what_does_not_fit_the_context_is_refused_with_numbers(make_worker, length, wanted):
    worker = make_worker(FakeEngine())
    refused = go(worker.complete(GenerateJob(("x" * length,), max_tokens=wanted)))
    assert (refused.status, refused.param) == (400, "prompt")
    assert "200" in refused.message and str(length) in refused.message


def test_max_tokens_defaults_to_what_fits(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine, default_tokens=60)

    async def ask() -> None:
        await worker.complete(GenerateJob(("x" * 10,)))
        await worker.complete(GenerateJob(("x" * 190,)))

    go(ask())
    assert [batch[0].max_new_tokens for batch in engine.batches] == [60, 10]


def test_a_temperature_near_zero_is_greedy(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine)
    go(worker.complete(GenerateJob((CHAT,), temperature=1e-30)))
    assert engine.batches[0][0].temperature == 0


def test_a_full_queue_refuses_at_once(make_worker):
    worker = make_worker(FakeEngine(), waiting=3)
    refused = go(worker.complete(GenerateJob((CHAT,), n=4)))
    assert (refused.status, refused.code) == (503, "overloaded")


def test_scores_come_from_the_engine_thread_and_long_ones_are_refused(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine)

    async def ask() -> list[Any]:
        long = ({"role": "user", "content": "x" * 300},)
        return [
            await worker.score(ScoreJob((CHAT, CHAT), adapter("r"))),
            await worker.score(ScoreJob((long,), adapter("r"))),
        ]

    scores, refused = go(ask())
    assert scores == [5.0, 5.0]
    assert refused.status == 400 and "300" in refused.message
    assert len(engine.threads) == 1
