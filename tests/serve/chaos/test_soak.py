"""Five minutes at saturation: cancels, hang-ups, loads, evictions and promotions at random.

Every adapter's greedy answer is known, so a token of another one's would be seen.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cluster.ray import ray_session
from cluster.registry import Registry, open_registry
from cluster.settings import Settings
from serve.server import running_server
from serve.sizes import Sizes
from tests.serve.real_adapters import BASE, installation, real_adapter

pytestmark = pytest.mark.chaos

SECONDS = 300
CLIENTS = 24
ADAPTERS = 9  # three times as many as share a batch, and more than are kept in memory
LINE = "soak/sft"
PROMPTS = ["one", "two and three", "a third prompt, longer than the others", "four"]
TOKENS = 12


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Settings]:
    with installation(tmp_path) as settings:
        yield settings


@pytest.fixture
def registry(home: Settings, tmp_path: Path) -> Registry:
    made = open_registry(home)
    for seed in range(ADAPTERS):
        made.register(LINE, real_adapter(tmp_path / f"made-{seed}", "sft", seed))
    made.promote(LINE, 1)
    return made


@pytest.fixture
def url(home: Settings, registry: Registry) -> Iterator[str]:
    sizes = Sizes(
        slots=8, slot_tokens=400, kv_gib=0.5, adapters=3, known_adapters=5, waiting_rows=24
    )
    with ray_session(home, num_cpus=1), running_server(home, BASE, cpus=1, sizes=sizes) as url:
        yield url


class Soak:
    """Clients that do as they like, and what came of it."""

    def __init__(self, http: httpx.AsyncClient, expected: dict[tuple[str, str], str]) -> None:
        self._http = http
        self._expected = expected
        self._random = random.Random(0)
        self.outcomes: Counter[str] = Counter()

    async def client(self, until: float) -> None:
        """Ask one thing after the other."""
        while time.monotonic() < until:
            kind = self._random.choice(["whole", "whole", "stream", "hang up", "time out"])
            await getattr(self, f"_{kind.replace(' ', '_')}")()

    def _body(self, **more: Any) -> dict[str, Any]:
        draw = self._random
        number = draw.randint(1, ADAPTERS)
        model = draw.choice([f"{LINE}:{number}", f"{LINE}@champion", "base"])
        prompt = draw.choice(PROMPTS)
        asked = {"model": model, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0}
        return {**asked, **more}

    async def _whole(self) -> None:
        body = self._body(n=self._random.choice([1, 1, 3]))
        response = await self._http.post("/v1/completions", json=body)
        if self._answered(response.status_code, response.content):
            answer = response.json()
            for choice in answer["choices"]:
                self._check(body["prompt"], answer["system_fingerprint"], choice["text"])

    async def _stream(self) -> None:
        body = self._body(stream=True)
        async with self._http.stream("POST", "/v1/completions", json=body) as response:
            if not self._answered(response.status_code, await _if_refused(response)):
                return
            parts = [part async for part in _parts(response)]
        assert parts, "a stream without an answer"
        assert not any("error" in part for part in parts), parts
        assert parts[-1]["choices"][0]["finish_reason"] is not None
        (who,) = {part["system_fingerprint"] for part in parts}
        text = "".join(part["choices"][0]["text"] for part in parts)
        self._check(body["prompt"], who, text)

    async def _hang_up(self) -> None:
        body = self._body(stream=True, max_tokens=200, ignore_eos=True)
        async with self._http.stream("POST", "/v1/completions", json=body) as response:
            self._answered(response.status_code, await _if_refused(response))
            async for _ in _parts(response):
                if self._random.random() < 0.2:
                    break

    async def _time_out(self) -> None:
        body, patience = self._body(max_tokens=200, ignore_eos=True), self._random.random()
        try:
            response = await self._http.post("/v1/completions", json=body, timeout=patience)
        except httpx.TimeoutException:
            self.outcomes["left"] += 1
        else:
            self._answered(response.status_code, response.content)

    def _answered(self, status: int, content: bytes) -> bool:
        """Whether there is an answer; a refusal must be a proper one."""
        self.outcomes[str(status)] += 1
        if status == 200:
            return True
        error = json.loads(content)["error"]
        assert (status, error["code"]) == (503, "overloaded"), error
        return False

    def _check(self, prompt: str, who: str, text: str) -> None:
        assert text == self._expected[prompt, who], f"another adapter's words for {who[:8]}"


async def _if_refused(response: httpx.Response) -> bytes:
    return await response.aread() if response.status_code != 200 else b""


async def _parts(response: httpx.Response) -> Any:
    async for line in response.aiter_lines():
        if line.startswith("data: {"):
            yield json.loads(line[6:])


async def _expected(http: httpx.AsyncClient) -> dict[tuple[str, str], str]:
    """What each adapter and the base say to each prompt, asked alone."""
    found = {}
    for model in ["base", *(f"{LINE}:{number}" for number in range(1, ADAPTERS + 1))]:
        for prompt in PROMPTS:
            asked = {"model": model, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0}
            answer = (await http.post("/v1/completions", json=asked)).json()
            found[prompt, answer["system_fingerprint"]] = answer["choices"][0]["text"]
    return found


async def _promote(registry: Registry, until: float) -> None:
    draw = random.Random(1)
    while time.monotonic() < until:
        await asyncio.to_thread(registry.promote, LINE, draw.randint(1, ADAPTERS))
        await asyncio.sleep(draw.uniform(0.5, 3))


async def _watch(memory: list[int], until: float) -> None:
    """Resident bytes of all of the endpoint's processes, every ten seconds."""
    while time.monotonic() < until:
        await asyncio.sleep(10)
        titles = ("ray::ServeReplica", "ray::ProxyActor")
        mine = psutil.Process().children(recursive=True)
        named = [one for one in mine if any(t in " ".join(one.cmdline()) for t in titles)]
        memory.append(sum(one.memory_info().rss for one in named))


def test_five_minutes_at_saturation(url, registry):
    memory: list[int] = []

    async def go() -> Counter[str]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
            soak = Soak(http, await _expected(http))
            until = time.monotonic() + SECONDS
            await asyncio.gather(
                *(soak.client(until) for _ in range(CLIENTS)),
                _promote(registry, until),
                _watch(memory, until),
            )
            return soak.outcomes

    outcomes = asyncio.run(go())
    assert outcomes["200"] > 100 and outcomes["left"] > 2, outcomes
    settled = len(memory) // 3
    assert max(memory[-3:]) < 1.05 * max(memory[settled : settled + 3]) + 20e6, memory
    assert "alignery_rows_unfinished 0.0" in _quiet(url)


def _quiet(url: str) -> str:
    """The metrics once nothing is under way any more."""
    deadline = time.monotonic() + 120
    while "alignery_rows_unfinished 0.0" not in (page := httpx.get(f"{url}/metrics").text):
        assert time.monotonic() < deadline, "rows are left that nobody waits for"
        time.sleep(0.5)
    return page
