"""Bodies that are too large, too slow, or never come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from serve.http.body_limit import Intake
from tests.serve.serve_fakes import ask


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


def post(body: Any, **headers: str) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(Intake(echo, most=1000, seconds=0.2))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post("/", content=body, headers=headers)

    return asyncio.run(send())


async def parts(*sizes: int, pause: float = 0) -> AsyncIterator[bytes]:
    for size in sizes:
        await asyncio.sleep(pause)
        yield b"x" * size


def test_a_body_arrives_whole_in_one_part_or_many():
    assert post(b"x" * 1000).text == "1000 bytes"
    assert post(parts(10, 0, 20)).text == "30 bytes"
    assert post(b"").text == "0 bytes"


@pytest.mark.parametrize("body", [b"x" * 1001, parts(900, 101)])
def test_too_large_is_a_413_whether_announced_or_not(body):
    response = post(body)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


def test_an_announced_length_is_enough():
    async def forever() -> AsyncIterator[bytes]:
        raise AssertionError("nobody should read it")
        yield b""

    assert post(forever(), **{"content-length": str(10**9)}).status_code == 413


def test_a_byte_now_and_then_is_a_408():
    assert post(parts(*[1] * 100, pause=0.05)).status_code == 408


def test_fields_that_mean_nothing_are_named(api):
    response = ask(api, store=True, temprature=0.1, **{"naïve\n": 1})
    assert response.status_code == 200
    assert response.headers["x-alignery-ignored"] == "?, store, temprature"
    assert "x-alignery-ignored" not in ask(api).headers
    many = ask(api, **{f"field{number:03}": 1 for number in range(100)})
    assert many.headers["x-alignery-ignored"].endswith("field019, ...")
    stream = ask(api, stream=True, store=True)
    assert stream.headers["x-alignery-ignored"] == "store"


def test_tokens(api):
    asked = {"prompt": "hello"}
    found = api.post("/tokenize", json=asked).json()
    assert found == {"count": 5, "max_model_len": 200, "tokens": [1] * 5}
    chat = {"model": "arithmetic/sft", "messages": [{"role": "user", "content": "hi"}]}
    assert api.post("/tokenize", json=chat).json()["count"] == 2
    for wrong, status in (
        ({}, 400),
        ({**asked, **chat}, 400),
        ({**asked, "model": "no/such"}, 404),
    ):
        assert api.post("/tokenize", json=wrong).status_code == status


def test_the_interface_describes_itself(api):
    paths = api.get("/openapi.json").json()["paths"]
    assert {"/v1/chat/completions", "/v1/score", "/tokenize", "/healthz"} <= set(paths)
    assert "openapi.json" in api.get("/docs").text
