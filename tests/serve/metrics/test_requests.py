"""Requests are counted by route, adapter and status, whatever becomes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from serve.http.body_limit import Intake
from serve.metrics.requests import Metered, RequestMeter
from serve.metrics.snapshots import collect, page
from tests.serve.metric_samples import samples
from tests.serve.serve_fakes import CHAT, ask

REQUESTS = "alignery_requests_total"


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


#: A server that says that the client is gone by an error of `send`, not by a message.
NEW = {"asgi": {"spec_version": "2.4"}}


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


async def _streams_to_nobody(scope: Any, receive: Any, send: Any) -> None:
    """As Starlette's responses do, which end in silence if their client disconnects."""

    async def parts() -> AsyncIterator[str]:
        yield "part"
        await asyncio.Event().wait()

    await StreamingResponse(parts())(scope, receive, send)


async def _fails_in_its_stream(scope: Any, receive: Any, send: Any) -> None:
    scope["state"]["ended"] = 503
    await StreamingResponse(iter(["part", "error"]))({**scope, **NEW}, receive, send)


@pytest.mark.parametrize(
    ("app", "status"),
    [
        (Intake(_nothing_comes), 499),  # the client left while it sent its request
        (_breaks(asyncio.CancelledError()), 499),  # … while it waited for the answer
        (_answers(200, asyncio.CancelledError()), 499),  # … while it read a stream
        (_streams_to_nobody, 499),
        (_breaks(RuntimeError()), 500),
        (_breaks(OSError()), 500),
        (_answers(200, RuntimeError()), 500),  # a stream that broke
        (_answers(200, OSError()), 500),
        (_fails_in_its_stream, 503),
        (_answers(200), 200),
        (_answers(404), 404),
        (_answers(503), 503),
    ],
)
def test_a_request_is_counted_once_under_the_status_of_its_end(app, status):
    meter = RequestMeter()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        pass

    with suppress(RuntimeError, OSError, asyncio.CancelledError):
        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        asyncio.run(Metered(app, meter)(scope, receive, send))
    found = samples(page(collect(meter.registry)))
    counted = {key: value for key, value in found.items() if key[0] == "alignery_requests_total"}
    assert counted == {("alignery_requests_total", ("", "none", str(status))): 1}
    assert found["alignery_request_seconds_count", ("none",)] == 1
    assert found["alignery_requests_in_progress", ()] == 0


def test_a_client_that_is_gone_when_a_part_is_sent_has_left():
    meter = RequestMeter()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("the connection is closed")

    async def receive() -> Any:
        return await asyncio.Event().wait()

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], **NEW}
    with pytest.raises(ClientDisconnect):
        asyncio.run(Metered(StreamingResponse(iter(["part"])), meter)(scope, receive, send))
    found = samples(page(collect(meter.registry)))
    assert found["alignery_requests_total", ("", "none", "499")] == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_stream_that_an_error_ends_is_counted_as_the_error(api, engine, path):
    prompt = {"prompt": "one"} if path == "/v1/completions" else {}
    engine.broken = True
    answer = ask(api, path, stream=True, **prompt)
    assert answer.status_code == 200 and "generation_failed" in answer.text
    found = samples(api.get("/metrics").text)
    assert found["alignery_requests_total", ("base", path, "500")] == 1
    assert ("alignery_requests_total", ("base", path, "200")) not in found


@pytest.mark.parametrize(
    ("part", "status"), [(b'"content": "base', "499"), (b"[DONE]", "200")], ids=["first", "last"]
)
def test_a_client_may_leave_as_soon_as_it_has_the_last_part_of_a_stream(api, part, status):
    async def leave(app: Any) -> None:
        gone = asyncio.Event()
        pending = [{"type": "http.request", "body": json.dumps(CHAT | {"stream": True}).encode()}]

        async def receive() -> Any:
            if pending:
                return pending.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if part in message.get("body", b""):
                gone.set()
                await asyncio.sleep(60)  # until this is cancelled

        path, headers = "/v1/chat/completions", [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http"}
        await app(scope, receive, send)

    api.portal.call(leave, api.app)
    found = samples(api.get("/metrics").text)
    counted = {key[1][2]: value for key, value in found.items() if key[0] == REQUESTS}
    assert counted == {status: 1}
    assert found["alignery_requests_in_progress", ()] == 1  # that for the metrics
