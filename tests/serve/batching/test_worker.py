"""The worker around an engine: joins, streams, cancels, isolates failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from align.errors import GpuLost
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
from serve.batching.worker import ReplicaLimits, Worker
from tests.serve.serve_fakes import FakeEngine, FakeVocabulary, make_adapter
from tests.waiting import await_until

CHAT = ({"role": "user", "content": "hello"},)


def adapter(name: str) -> AdapterRef:
    return AdapterRef(f"{name * 8}-id", f"arithmetic/{name}:1")


@pytest.fixture
def make_worker(tmp_path: Path) -> Callable[..., Worker]:
    folder = make_adapter(tmp_path / "adapter", "x")

    def make(engine: FakeEngine, **limits: int) -> Worker:
        return Worker(
            engine, lambda _: folder, FakeVocabulary(engine.words), ReplicaLimits(**limits)
        )

    return make


def go(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 120))


async def settled() -> None:
    """Let all tasks go on until they wait for the engine."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_adapters_the_base_and_scores_share_steps_on_one_thread(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine)
    jobs = [GenerateJob((CHAT,), adapter(name)) for name in "abab"]
    rating = ScoreJob((CHAT, CHAT), adapter("r"))

    async def ask() -> list[Any]:
        await asyncio.gather(worker.score(rating), *map(worker.complete, jobs))  # all are loaded
        engine.pause()
        asked = [*map(worker.complete, [*jobs, GenerateJob((CHAT,))]), worker.score(rating)]
        asked = [asyncio.create_task(one) for one in asked]
        await settled()
        await engine.one_step()
        await engine.one_step()
        engine.resume()
        return await asyncio.gather(*asked)

    *outcomes, scores = go(ask())
    assert [one.rows[0].text.split()[0] for one in outcomes] == [
        "aaaaaaaa", "bbbbbbbb", "aaaaaaaa", "bbbbbbbb", "base"
    ]  # fmt: skip
    assert scores.values == (5.0, 5.0) and scores.prompt_tokens == 10
    assert max(engine.batches) == 7
    assert len(engine.threads) == 1


def test_a_request_joins_while_others_write_and_leaves_before_them(make_worker):
    engine = FakeEngine()
    engine.pause()
    worker = make_worker(engine)

    async def ask() -> None:
        long = asyncio.create_task(worker.complete(GenerateJob((CHAT,))))
        await settled()
        await engine.one_step()
        short = asyncio.create_task(worker.complete(GenerateJob((CHAT,), max_tokens=1)))
        await settled()
        engine.resume()
        await asyncio.gather(long, short)

    go(ask())
    assert engine.batches[0] == 1 and 2 in engine.batches
    assert engine.finished == ["length", "stop"]


def test_rows_continue_their_prompts_with_seeds_of_their_own(make_worker):
    engine = FakeEngine(slots=4)
    worker = make_worker(engine, slots=4)
    outcome = go(worker.complete(GenerateJob((CHAT, "plain text"), n=5, seed=7)))
    assert max(engine.batches) == 4
    assert outcome.prompt_tokens == 5 + 10
    assert [row.text.split()[2] for row in outcome.rows] == ["5"] * 5 + ["10"] * 5
    assert [row.text.split()[4] for row in outcome.rows] == [str(7 + row) for row in range(10)]


def test_the_largest_seed_has_successors(make_worker):
    outcome = go(make_worker(FakeEngine()).complete(GenerateJob((CHAT,), n=2, seed=2**63 - 1)))
    assert [row.text.split()[4] for row in outcome.rows] == [str(2**63 - 1), "0"]


def test_a_stream_brings_text_as_it_is_written(make_worker):
    engine = FakeEngine()
    engine.pause()
    worker = make_worker(engine)

    async def ask() -> list[Any]:
        stream = worker.stream(GenerateJob((CHAT,), streamed=True))
        events = await anext(stream)
        for _ in range(6):
            await engine.one_step()
            events += await anext(stream)
        return events

    accepted, *texts, done = go(ask())
    assert isinstance(accepted, Accepted) and isinstance(done, Done)
    assert texts == [Text(0, word) for word in ("base", " hears", " 5", " seed", " None")]
    assert done.text == "base hears 5 seed None"


def test_a_client_that_hangs_up_frees_its_row_and_no_other(make_worker):
    engine = FakeEngine()
    engine.pause()
    worker = make_worker(engine)

    async def ask() -> Outcome | Refused:
        stays, leaves = (
            asyncio.create_task(worker.complete(GenerateJob((CHAT,)))) for _ in range(2)
        )
        streamed = worker.stream(GenerateJob((CHAT,), streamed=True))
        first = asyncio.create_task(anext(streamed))
        await settled()
        await engine.one_step()
        await first
        leaves.cancel()
        await streamed.aclose()
        await settled()
        engine.resume()
        return await stays

    outcome = go(ask())
    assert outcome.rows[0].finish_reason == "stop"
    assert engine.finished == ["cancelled", "cancelled", "stop"]


def test_the_loop_survives_a_failed_step(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine)

    async def ask() -> list[Outcome | Refused]:
        engine.broken = True
        failed = await asyncio.gather(*(worker.complete(GenerateJob((CHAT,))) for _ in range(3)))
        engine.broken = False
        return [*failed, await worker.complete(GenerateJob((CHAT,)))]

    *bad, good = go(ask())
    assert {one.status for one in bad} == {500} and "out of memory" in bad[0].message
    assert isinstance(good, Outcome) and good.rows[0].finish_reason == "stop"
    assert not engine.busy


def test_what_the_engine_refuses_fails_alone(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine)

    async def ask() -> list[Outcome | Refused]:
        jobs = [GenerateJob((CHAT,)), GenerateJob((CHAT,), n=2, logit_bias={13: 1.0})]
        return await asyncio.gather(*map(worker.complete, jobs))

    good, bad = go(ask())
    assert isinstance(good, Outcome)
    assert (bad.status, bad.message) == (400, "logit_bias: there is no token 13")


@pytest.mark.parametrize(("length", "wanted"), [(200, None), (150, 51), (999, 1)])
def test_what_does_not_fit_the_context_is_refused_with_numbers(make_worker, length, wanted):
    worker = make_worker(FakeEngine())
    refused = go(worker.complete(GenerateJob(("x" * length,), max_tokens=wanted)))
    assert (refused.status, refused.param) == (400, "prompt")
    assert "200" in refused.message and str(length) in refused.message


def test_a_conversation_that_is_too_long_to_score_is_refused(make_worker):
    long = ({"role": "user", "content": "x" * 300},)
    refused = go(make_worker(FakeEngine()).score(ScoreJob((CHAT, long), adapter("r"))))
    assert refused.status == 400 and "300" in refused.message


def test_what_fits_the_context_exactly_is_done(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine)
    chat = ({"role": "user", "content": "x" * 200},)

    async def ask() -> list[Any]:
        return [
            await worker.complete(GenerateJob(("x" * 150,), max_tokens=50)),
            await worker.complete(GenerateJob(("x" * 199,))),
            await worker.score(ScoreJob((CHAT, chat), adapter("r"))),
        ]

    assert not any(isinstance(one, Refused) for one in go(ask()))
    assert [one.max_new_tokens for one in engine.requests] == [50, 1, 0, 0]


@pytest.mark.parametrize("long_first", [True, False])
def test_the_longest_of_several_prompts_decides(make_worker, long_first):
    worker = make_worker(FakeEngine())
    prompts = ("x" * 190, "x") if long_first else ("x", "x" * 190)
    refused = go(worker.complete(GenerateJob(prompts, max_tokens=20)))
    assert refused.status == 400 and "190" in refused.message
    chats = tuple(({"role": "user", "content": one * 2},) for one in prompts)
    refused = go(worker.score(ScoreJob(chats, adapter("r"))))
    assert refused.status == 400 and "380" in refused.message


def test_as_many_tokens_may_be_demanded_as_are_allowed(make_worker):
    worker = make_worker(FakeEngine())

    def ask(least: int) -> Outcome | Refused:
        return go(worker.complete(GenerateJob((CHAT,), max_tokens=4, min_new_tokens=least)))

    assert isinstance(ask(4), Outcome)
    refused = ask(5)
    assert (refused.status, refused.param) == (400, "min_tokens")
    assert "5" in refused.message and "4" in refused.message


def test_choices_of_several_prompts_come_prompt_by_prompt(make_worker):
    engine = FakeEngine()
    outcome = go(make_worker(engine).complete(GenerateJob(("x", "xx"), n=3, seed=5)))
    assert [len(one.prompt_ids) for one in engine.requests] == [1, 1, 1, 2, 2, 2]
    assert [one.seed for one in engine.requests] == [5, 6, 7, 8, 9, 10]
    assert [one.row for one in outcome.rows] == list(range(6))


def test_nothing_of_the_probabilities_is_greedy(make_worker):
    engine = FakeEngine()
    go(make_worker(engine).complete(GenerateJob((CHAT,), temperature=1.0, top_p=0)))
    assert (engine.requests[0].temperature, engine.requests[0].top_p) == (0, 1)


def test_max_tokens_defaults_to_what_fits(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine, default_tokens=60)

    async def ask() -> None:
        await worker.complete(GenerateJob(("x" * 10,)))
        await worker.complete(GenerateJob(("x" * 190,)))

    go(ask())
    assert [request.max_new_tokens for request in engine.requests] == [60, 10]


def test_a_temperature_near_zero_is_greedy(make_worker):
    engine = FakeEngine()
    go(make_worker(engine).complete(GenerateJob((CHAT,), temperature=1e-30)))
    assert engine.requests[0].temperature == 0


def test_a_full_queue_refuses_at_once_and_takes_again_when_it_is_empty(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine, slots=2, waiting=2)

    async def ask() -> list[Outcome | Refused]:
        first = asyncio.create_task(worker.complete(GenerateJob((CHAT,), n=4)))
        await asyncio.sleep(0)
        refused = await worker.complete(GenerateJob((CHAT,)))
        assert isinstance(await first, Outcome)
        return [refused, await worker.complete(GenerateJob((CHAT,), n=4))]

    refused, taken = go(ask())
    assert (refused.status, refused.code) == (503, "overloaded")
    assert "2 completions are waiting" in refused.message
    assert isinstance(taken, Outcome)


def test_the_last_place_of_a_queue_is_given_away(make_worker):
    engine = FakeEngine()
    engine.pause()
    worker = make_worker(engine, slots=2, waiting=2)

    async def ask() -> list[Outcome | Refused]:
        asked = [asyncio.create_task(worker.complete(GenerateJob((CHAT,), n=2))) for _ in range(2)]
        await settled()
        refused = await worker.complete(GenerateJob((CHAT,)))
        engine.resume()
        return [refused, *await asyncio.gather(*asked)]

    refused, *taken = go(ask())
    assert (refused.status, refused.code) == (503, "overloaded")
    assert all(isinstance(one, Outcome) for one in taken)


def test_a_job_that_can_never_be_taken_is_told_so(make_worker):
    refused = go(make_worker(FakeEngine(), slots=1, waiting=2).complete(GenerateJob((CHAT,), n=4)))
    assert refused.status == 400 and "at most 3" in refused.message


def test_tokens_of_a_stream_gather_where_there_are_many_but_its_end_does_not_wait(
    make_worker, monkeypatch
):
    monkeypatch.setattr("serve.batching.worker.LONGEST_PAUSE", 60)
    engine = FakeEngine()
    engine.pause()
    worker = make_worker(engine, stream_parts=1)
    parts: list[list[Any]] = []

    def texts() -> list[Text]:
        return [one for events in parts for one in events if isinstance(one, Text)]

    async def ask() -> None:
        async def read() -> None:
            async for events in worker.stream(GenerateJob((CHAT,), streamed=True)):
                parts.append(events)

        streams = [asyncio.create_task(read()) for _ in range(30)]
        await settled()
        for begun in (1, 30):  # the first has a step alone
            await engine.one_step()
            await await_until(lambda: len(texts()) >= begun, f"{begun} texts")  # noqa: B023
        engine.resume()
        await asyncio.gather(*streams)

    go(ask())
    assert [one.text for one in texts()] == ["base"] * 30 + [" hears 5 seed None"] * 30
    assert [one.tokens for one in texts()] == [1] * 30 + [4] * 30


def test_what_the_engine_cannot_do_is_logged_and_requests_go_on(
    make_worker, serve_log, monkeypatch
):
    engine = FakeEngine()
    monkeypatch.setattr(engine, "keep", lambda _: 1 / 0)
    worker = make_worker(engine)

    async def ask() -> list[Any]:
        await worker.keep(())
        return [await worker.complete(GenerateJob((CHAT,))) for _ in range(2)]

    assert all(isinstance(one, Outcome) for one in go(ask()))
    assert "the engine could not do what it was sent" in serve_log.text


def test_a_worker_is_healthy_until_its_gpu_is_lost(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine)

    async def ask() -> Any:
        await worker.check_health()
        assert await worker.ready()
        engine.broken = True  # out of memory
        failed = await worker.complete(GenerateJob((CHAT,)))
        await worker.check_health()
        engine.lose(RuntimeError("CUDA error: unspecified launch failure"))
        lost = await worker.complete(GenerateJob((CHAT,)))
        with pytest.raises(GpuLost, match="unspecified launch failure"):
            await worker.check_health()
        assert not await worker.ready()
        return failed, lost

    failed, lost = go(ask())
    assert failed.status == 500
    assert (lost.status, lost.code) == (503, "engine_lost")


def test_an_adapter_that_meets_a_lost_gpu_is_not_to_blame(make_worker, monkeypatch):
    engine = FakeEngine()
    error = RuntimeError("CUDA error: misaligned address")
    monkeypatch.setattr(engine, "load", lambda *_: (_ for _ in ()).throw(error))
    worker = make_worker(engine)
    refused = go(worker.complete(GenerateJob((CHAT,), adapter("a"))))
    assert (refused.status, refused.code) == (503, "engine_lost")
