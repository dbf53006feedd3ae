"""Clients in a process of their own: `python -m benchmarks.serve.load SPEC.json OUT.json`."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Spec:
    """Bodies to POST to `url`: by `clients` that each wait for their answer, or `rate` a second.

    With a rate, arrivals are a Poisson process, whatever the answers take.
    """

    url: str
    bodies: list[dict[str, Any]]
    clients: int = 1
    rate: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Asked:
    """One request: seconds from the run's start, and what came back."""

    began: float
    first: float  # token; of an answer that is not streamed its end
    ended: float
    tokens: int
    status: int
    parts: int = 0  # that brought text; of an answer that is not streamed none


@dataclass(frozen=True)
class Loaded:
    """A run of clients."""

    seconds: float
    asked: list[Asked] = field(default_factory=list)

    @classmethod
    def of(cls, found: dict[str, Any]) -> Loaded:
        """From what `asdict` made of one."""
        return cls(found["seconds"], [Asked(**one) for one in found["asked"]])

    @property
    def tokens_a_second(self) -> float:
        """Completion tokens over the time from the first request to the last answer."""
        return sum(one.tokens for one in self.asked) / self.seconds

    @property
    def firsts(self) -> list[float]:
        """Seconds to the first token of each request, in ascending order."""
        return sorted(one.first - one.began for one in self.asked)

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return sum(one.status != 200 for one in self.asked)


def read_loaded(file: Path) -> Loaded:
    """What `main` wrote."""
    return Loaded.of(json.loads(file.read_text(encoding="utf-8")))


async def run(spec: Spec) -> Loaded:
    """Ask everything."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        start = time.perf_counter()
        work = _paced if spec.rate is not None else _closed
        asked = await work(session, spec, start)
        return Loaded(time.perf_counter() - start, asked)


async def _closed(session: aiohttp.ClientSession, spec: Spec, start: float) -> list[Asked]:
    left: Iterator[dict[str, Any]] = iter(spec.bodies)
    done: list[Asked] = []

    async def client() -> None:
        for body in left:
            done.append(await _ask(session, spec.url, body, start))

    await asyncio.gather(*(client() for _ in range(spec.clients)))
    return done


async def _paced(session: aiohttp.ClientSession, spec: Spec, start: float) -> list[Asked]:
    draw, at = random.Random(spec.seed), 0.0
    asking = []
    for body in spec.bodies:
        at += draw.expovariate(spec.rate or 1.0)
        await asyncio.sleep(max(0.0, start + at - time.perf_counter()))
        asking.append(asyncio.create_task(_ask(session, spec.url, body, start)))
    return list(await asyncio.gather(*asking))


async def _ask(
    session: aiohttp.ClientSession, url: str, body: dict[str, Any], start: float
) -> Asked:
    began = time.perf_counter() - start
    first, tokens, parts = 0.0, 0, 0
    async with session.post(url, json=body) as response:
        if body.get("stream"):
            async for line in response.content:
                if line.startswith(b"data: {"):
                    part = json.loads(line[6:])
                    deltas = [one["delta"] for one in part.get("choices", ())]
                    if any(one.get("content") for one in deltas):
                        first = first or time.perf_counter() - start
                        parts += 1
                    if part.get("usage"):
                        tokens = part["usage"]["completion_tokens"]
        else:
            whole = await response.json()
            tokens = whole.get("usage", {}).get("completion_tokens", 0)
        ended = time.perf_counter() - start
        return Asked(began, first or ended, ended, tokens, response.status, parts)


def main(spec_file: str, out_file: str) -> None:
    """Read the spec, run it, write what came of it."""
    spec = Spec(**json.loads(Path(spec_file).read_text(encoding="utf-8")))
    Path(out_file).write_text(json.dumps(asdict(asyncio.run(run(spec)))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
