"""Check `serving`: 200 requests at once, and a replica whose card has failed is replaced.

On a CPU the requests go to the worker of a replica in this process. On a card they go to an
endpoint on a local Ray, whose replica then meets a device-side assertion: from then on every call
of CUDA in its process fails, until Ray Serve starts another process.
"""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request

from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.gpu_check.prompts import questions
from cluster.local_calls import open_url

REQUESTS = 200
_TOKENS = 8
#: Seconds in which a failed replica must be replaced and answer.
_REPLACED_SECONDS = 180
#: Seconds in which a replica that runs tells its process.
_ANSWER_SECONDS = 10


def run(setting: Setting) -> Outcome:
    """See the module."""
    if setting.on_card:
        return check_endpoint(setting)
    seconds, errors = burst_on_worker(setting.base)
    if errors:
        return failed(f"{len(errors)} of {REQUESTS} requests failed: {errors[0]}")
    return passed(
        f"{REQUESTS} requests at once, no error; that a failed replica is replaced needs a card",
        requests=REQUESTS,
        burst_seconds=round(seconds, 2),
    )


def check_endpoint(setting: Setting) -> Outcome:
    """Requests to an endpoint on a local Ray, and the replacement of its replica."""
    from align.gpu_check.release import release
    from cluster.ray import ray_session
    from cluster.settings import Settings, sqlite_url
    from serve.gpu_check.fragile_replica import FATAL
    from serve.server import running_server
    from serve.sizes import Sizes

    home = setting.folder / "home"
    settings = Settings(
        home=home,
        database_url=sqlite_url(home / "alignery.db"),
        storage=str(home / "storage"),
        ray_address=None,
    )
    sizes = Sizes(slots=32, slot_tokens=1024, kv_gib=1)
    gpus = 1.0 if setting.on_card else 0.0  # by itself a server without a card would use the CPU
    release()
    with (
        ray_session(settings),
        running_server(settings, setting.base, sizes=sizes, application=_fragile, gpus=gpus) as url,
    ):
        started = time.perf_counter()
        errors = burst(url)
        seconds = time.perf_counter() - started
        before = replica_process()
        ask(url, FATAL)
        waited = wait_until_replaced(url, before)
    figures = {"requests": REQUESTS, "burst_seconds": round(seconds, 2), "replaced_seconds": waited}
    if errors:
        return failed(f"{len(errors)} of {REQUESTS} requests failed: {errors[0]}", **figures)
    if waited is None:
        return failed(
            f"a replica whose card has failed was not replaced in {_REPLACED_SECONDS} s: restart "
            "the endpoint by hand after `CUDA error` in its log, and report it with the JSON",
            **figures,
        )
    return passed(
        f"{REQUESTS} requests at once, no error; a replica whose card failed was replaced after "
        f"{waited:.0f} s",
        **figures,
    )


def burst_on_worker(base: str) -> tuple[float, list[str]]:
    """Seconds of all requests at once on a worker in this process, and its refusals."""
    from align.base import load_base
    from align.inference import EngineOptions, load_engine
    from serve.batching.jobs import AdapterRef, GenerateJob, Refused
    from serve.batching.token_text import TokenizerVocabulary
    from serve.batching.worker import ReplicaLimits, Worker

    def no_adapters(adapter: AdapterRef) -> Path:
        raise LookupError(f"{adapter.name}: the check asks for the base alone")

    engine = load_engine(base, EngineOptions(slots=32, slot_tokens=1024, adapters=1))
    vocabulary = TokenizerVocabulary(load_base(base).tokenizer)
    limits = ReplicaLimits(slots=32, waiting=REQUESTS)

    async def all_at_once() -> list[str]:
        worker = Worker(engine, no_adapters, vocabulary, limits)
        jobs = [
            GenerateJob((({"role": "user", "content": text},),), max_tokens=_TOKENS)
            for text in questions(REQUESTS)
        ]
        answers = await asyncio.gather(*(worker.complete(job) for job in jobs))
        return [answer.message for answer in answers if isinstance(answer, Refused)]

    started = time.perf_counter()
    errors = asyncio.run(all_at_once())
    return time.perf_counter() - started, errors


def burst(url: str) -> list[str]:
    """The errors of all requests at once."""
    with ThreadPoolExecutor(REQUESTS) as pool:
        answers = pool.map(lambda text: ask(url, text), questions(REQUESTS))
        return [error for error in answers if error is not None]


def ask(url: str, text: str) -> str | None:
    """Ask for a short completion; the error, or None."""
    body = {
        "model": "base",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": _TOKENS,
    }
    headers = {"content-type": "application/json"}
    request = Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with open_url(request, timeout=_REPLACED_SECONDS) as answer:
            json.load(answer)
    except HTTPError as error:
        return f"{error.code} {error.read(300).decode(errors='replace')}"
    except (URLError, OSError) as error:
        return str(error)
    return None


def wait_until_replaced(url: str, before: int | None) -> float | None:
    """Seconds until another process than `before` has answered; None if that takes too long."""
    started = time.monotonic()
    while (waited := time.monotonic() - started) < _REPLACED_SECONDS:
        if replica_process() not in (before, None) and ask(url, "hello") is None:
            return round(waited, 1)
        time.sleep(1)
    return None


def replica_process() -> int | None:
    """The process of the only replica; None while there is none."""
    from ray import serve
    from ray.exceptions import RayError

    from serve.deployment.config import APPLICATION

    handle: Any = serve.get_deployment_handle("FragileReplica", APPLICATION)
    try:
        return int(handle.process.remote().result(timeout_s=_ANSWER_SECONDS))
    except (RayError, TimeoutError):
        return None


def _fragile(args: Any) -> Any:
    """The usual application over replicas that can be made to fail."""
    from serve.app import compose
    from serve.gpu_check.fragile_replica import FragileReplica

    return compose(args, FragileReplica)


CHECK = Check("serving", run, seconds=80, cpu_seconds=6)
