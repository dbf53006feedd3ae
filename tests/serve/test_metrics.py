"""What is counted, and how reports of several processes become one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from serve.batching.jobs import AdapterRef, GenerateJob
from serve.batching.worker import ReplicaLimits, Worker
from serve.http.body_limit import Intake
from serve.metrics.aggregator import GONE_SECONDS, MetricsAggregator
from serve.metrics.requests import Metered, RequestMeter
from serve.metrics.snapshots import MetricsSnapshot, added, collect, page
from tests.serve.serve_fakes import FakeEngine, FakeVocabulary, ask


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and values of labels."""
    return {
        (one.name, tuple(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def process(asked: int, now: int) -> MetricsSnapshot:
    """What a process reports that was asked so often and has so much to do now."""
    registry = CollectorRegistry()
    Counter("asked", "Requests.", ["who"], registry=registry).labels("ada").inc(asked)
    Gauge("busy", "Now.", registry=registry).set(now)
    times = Histogram("took", "Seconds.", buckets=(1, 2), registry=registry)
    for _ in range(asked):
        times.observe(1.5)
    return collect(registry)


def test_reports_are_added_up_and_prometheus_reads_the_page():
    found = samples(page(added([process(2, 5), process(3, 1)])))
    assert found["asked_total", ("ada",)] == 5
    assert found["busy", ()] == 6
    assert found["took_bucket", ("1.0",)] == 0
    assert found["took_bucket", ("2.0",)] == found["took_bucket", ("+Inf",)] == 5
    assert (found["took_count", ()], found["took_sum", ()]) == (5, 7.5)
    assert not any(name.endswith("_created") for name, _ in found)


def test_a_process_that_is_gone_leaves_its_counts():
    clock = [0.0]
    board = MetricsAggregator(lambda: clock[0])

    def total() -> dict[Any, float]:
        return samples(page(asyncio.run(board.total())))

    asyncio.run(board.report("one", process(2, 5)))
    asyncio.run(board.report("other", process(3, 1)))
    asyncio.run(board.report("one", process(4, 5)))  # in place of what it said before
    assert (total()["asked_total", ("ada",)], total()["busy", ()]) == (7, 6)
    for clock[0] in (GONE_SECONDS + 1, 2 * GONE_SECONDS):
        asyncio.run(board.report("other", process(3, 1)))
        assert (total()["asked_total", ("ada",)], total()["busy", ()]) == (7, 1)
    asyncio.run(board.report("one", process(5, 2)))  # it had only been silent
    assert (total()["asked_total", ("ada",)], total()["busy", ()]) == (8, 3)


def test_an_engine_counts_tokens_and_times_by_adapter(tmp_path):
    (tmp_path / "manifest.json").touch()
    engine = FakeEngine()
    worker = Worker(engine, lambda _: tmp_path, FakeVocabulary(engine.words), ReplicaLimits())
    chat = ({"role": "user", "content": "hello"},)
    adapter = AdapterRef("x" * 64, "arithmetic/sft:1")

    async def go() -> None:
        for job in (GenerateJob((chat,), adapter, n=2), GenerateJob((chat,), max_tokens=1)):
            await worker.complete(job)

    asyncio.run(go())
    found = samples(page(collect(worker.meter.registry)))
    for name, adapted, base in (
        ("prompt_tokens_total", 10, 5),
        ("completion_tokens_total", 10, 1),
        ("time_to_first_token_seconds_count", 2, 1),
        ("queue_seconds_count", 2, 1),
        ("bank_hits_total", 2, None),
    ):
        assert found[f"alignery_{name}", ("arithmetic/sft:1",)] == adapted, name
        assert found.get((f"alignery_{name}", ("base",))) == base, name
    assert found["alignery_inter_token_seconds_count", ("arithmetic/sft:1",)] == 8
    assert found["alignery_known_adapters", ()] == 1
    assert found["alignery_rows_unfinished", ()] == 0


def test_a_failure_that_nobody_expected_is_a_500(api, monkeypatch):
    monkeypatch.setattr("serve.http.api.page", lambda _: 1 / 0)
    assert api.get("/metrics").status_code == 500
    monkeypatch.undo()
    found = samples(api.get("/metrics").text)
    assert found["alignery_requests_total", ("", "/metrics", "500")] == 1


def test_requests_by_route_adapter_and_status(api, adapters):
    ask(api, model="arithmetic/sft")
    ask(api, model="arithmetic/sft@champion", stream=True)
    ask(api, model="base", max_tokens=0)
    ask(api, model="nobody")
    for number in range(3):
        api.get(f"/no/such/path/{number}")
    found = samples(api.get("/metrics").text)
    chats, none = "/v1/chat/completions", "none"
    # Labels are in the order of their names: adapter, route, status.
    assert found["alignery_requests_total", ("arithmetic/sft:1", chats, "200")] == 2
    assert found["alignery_requests_total", ("", chats, "400")] == 1
    assert found["alignery_requests_total", ("", chats, "404")] == 1
    assert found["alignery_requests_total", ("", none, "404")] == 3
    assert found["alignery_alias_moves_failed", ()] == 0


# What becomes of a request whose client leaves or whose answer breaks


async def _nothing_comes(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the body never came, so no route may see the request")


def _answers(status: int, then: BaseException | None = None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": then is not None})
        if then is not None:
            raise then

    return app


def _breaks(error: BaseException) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("app", "status"),
    [
        (Intake(_nothing_comes), 499),  # the client left while it sent its request
        (_breaks(asyncio.CancelledError()), 499),  # … while it waited for the answer
        (_answers(200, asyncio.CancelledError()), 200),  # … while it read a stream
        (_breaks(RuntimeError()), 500),
        (_answers(200, RuntimeError()), 200),  # the client has had this status
        (_answers(200), 200),
        (_answers(404), 404),
        (_answers(503), 503),
    ],
)
def test_a_request_is_counted_once_under_the_status_that_its_client_had(app, status):
    meter = RequestMeter()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        pass

    with suppress(RuntimeError, asyncio.CancelledError):
        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        asyncio.run(Metered(app, meter)(scope, receive, send))
    found = samples(page(collect(meter.registry)))
    counted = {key: value for key, value in found.items() if key[0] == "alignery_requests_total"}
    assert counted == {("alignery_requests_total", ("", "none", str(status))): 1}
    assert found["alignery_request_seconds_count", ("none",)] == 1
    assert found["alignery_requests_in_progress", ()] == 0
