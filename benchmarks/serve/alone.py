"""The engine by itself: `python -m benchmarks.serve.alone SPEC.json OUT.json`, in its own process.

The same `Worker` as behind HTTP, asked by coroutines, so that what is left out is HTTP and Ray.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.serve.load import Asked, Loaded
from serve.batching.jobs import AdapterRef, Done, Text
from serve.batching.worker import Worker
from serve.http.schemas import ChatRequest
from serve.sizes import Sizes


@dataclass(frozen=True)
class AloneSpec:
    """A base, folders of adapters by name, and the runs: (bodies, clients) each."""

    base: str
    adapters: dict[str, str]
    sizes: dict[str, Any]
    runs: list[tuple[list[dict[str, Any]], int]]


def main(spec_file: str, out_file: str) -> None:
    """Run all, write a list of what came of each."""
    spec = AloneSpec(**json.loads(Path(spec_file).read_text(encoding="utf-8")))
    worker = _worker(spec)

    async def everything() -> list[Loaded]:
        return [await _run(worker, bodies, clients) for bodies, clients in spec.runs]

    found = [asdict(one) for one in asyncio.run(everything())]
    Path(out_file).write_text(json.dumps(found), encoding="utf-8")


def _worker(spec: AloneSpec) -> Worker:
    from align.base import load_base
    from align.inference import load_engine
    from serve.batching.token_text import TokenizerVocabulary

    sizes = Sizes(**spec.sizes)
    engine = load_engine(spec.base, sizes.engine_options())
    vocabulary = TokenizerVocabulary(load_base(spec.base).tokenizer)
    return Worker(engine, lambda one: Path(spec.adapters[one.name]), vocabulary, sizes.limits())


async def _run(worker: Worker, bodies: list[dict[str, Any]], clients: int) -> Loaded:
    left: Iterator[dict[str, Any]] = iter(bodies)
    done: list[Asked] = []
    start = time.perf_counter()

    async def client() -> None:
        for body in left:
            done.append(await _ask(worker, body, start))

    await asyncio.gather(*(client() for _ in range(clients)))
    return Loaded(time.perf_counter() - start, done)


async def _ask(worker: Worker, body: dict[str, Any], start: float) -> Asked:
    request = ChatRequest.model_validate(body)
    name = request.model
    adapter = None if name == "base" else AdapterRef(name, name)
    began, first, tokens = time.perf_counter() - start, 0.0, 0
    async for events in worker.stream(request.job(adapter)):
        if not first and any(isinstance(one, Text) and one.text for one in events):
            first = time.perf_counter() - start
        tokens += sum(one.tokens for one in events if isinstance(one, Done))
    ended = time.perf_counter() - start
    return Asked(began, first or ended, ended, tokens, 200)


if __name__ == "__main__":
    main(*sys.argv[1:])
