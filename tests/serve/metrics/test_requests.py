"""Requests are counted by route, adapter and status, whatever becomes of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from serve.http.body_limit import Intake
from serve.metrics.requests import Metered, RequestMeter
from serve.metrics.snapshots import collect, page
from tests.serve.metric_samples import samples
from tests.serve.serve_fakes import ask


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
