"""An engine as the ingress reaches it: one of the replicas behind a Ray Serve handle."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, cast

from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    RayActorError,
    RayError,
    WorkerCrashedError,
)
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaUnavailableError,
)

from serve.access.key import Key
from serve.batching.errors import lost, no_room
from serve.batching.jobs import (
    Accepted,
    AdapterRef,
    Done,
    Event,
    GenerateJob,
    Outcome,
    Prompt,
    Refused,
    ScoreJob,
    Scores,
    Text,
    Tokens,
)
from serve.errors import ServeError
from serve.metrics.snapshots import MetricsSnapshot

_log = logging.getLogger("ray.serve")

READY_SECONDS = 5
#: Replicas that a request is given to, one after the other, as long as they die of it or beside it.
ATTEMPTS = 3

#: The replica is gone, and with it whatever it was doing.
_LOST = (
    RayActorError,
    NodeDiedError,
    WorkerCrashedError,
    ObjectLostError,
    ReplicaUnavailableError,
)


class CoordinatorClient:
    """`Limits` and `Metrics` over a handle to the one `Tally`.

    Where it cannot be asked, requests pass: keys are known to the ingress itself.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def admit(self, key: Key) -> float:
        """See `Limits`."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                return float(await self._handle.admit.remote(key))
        except (RayError, RayServeException, TimeoutError) as error:
            _log.warning("limits cannot be counted: %s", type(error).__name__)
            return 0.0

    async def spend(self, key: Key, tokens: int) -> None:
        """See `Limits`."""
        # In a context of its own: where a client hangs up, Ray cancels what its request asked for.
        contextvars.Context().run(self._handle.spend.remote, key, tokens)

    async def report(self, process: str, counted: MetricsSnapshot) -> None:
        """See `Metrics`."""
        with suppress(RayError, RayServeException, TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                await self._handle.report.remote(process, counted)

    async def total(self) -> MetricsSnapshot:
        """See `Metrics`."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                return cast("MetricsSnapshot", await self._handle.total.remote())
        except (RayError, RayServeException, TimeoutError) as error:
            raise ServeError(f"nobody counts just now: {type(error).__name__}") from error


class ReplicaClient:
    """`EngineClient` over a handle to `EngineReplica`.

    A request whose replica dies is given to another one, unless some of its answer was streamed.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._streaming = handle.options(stream=True)

    async def complete(self, job: GenerateJob) -> Outcome | Refused:
        """See `EngineClient`."""
        return cast("Outcome | Refused", await self._ask("complete", job))

    async def score(self, job: ScoreJob) -> Scores | Refused:
        """See `EngineClient`."""
        return cast("Scores | Refused", await self._ask("score", job))

    async def stream(self, job: GenerateJob) -> AsyncGenerator[list[Event], None]:
        """See `EngineClient`."""
        accepted = False
        for attempt in range(1, ATTEMPTS + 1):
            begun = False
            response = self._streaming.stream.remote(job)
            try:
                async for events in response:
                    news = [one for one in events if not (accepted and isinstance(one, Accepted))]
                    accepted = accepted or any(isinstance(one, Accepted) for one in events)
                    begun = begun or any(isinstance(one, Text | Done) for one in events)
                    if news:
                        yield news
                return
            except _LOST as error:
                if begun or attempt == ATTEMPTS:
                    yield [lost(error)]
                    return
            except (BackPressureError, DeploymentUnavailableError) as error:
                yield [no_room(error)]
                return
            finally:
                # One that failed before it reached a replica raises its failure here once more.
                with suppress(RayError, RayServeException):
                    response.cancel()

    async def tokenize(self, prompt: Prompt, generate: bool) -> Tokens | Refused:
        """See `EngineClient`."""
        return cast("Tokens | Refused", await self._ask("tokenize", prompt, generate))

    async def prepare(self, adapter: AdapterRef) -> Refused | None:
        """On every replica; one that dies meanwhile takes no part."""
        try:
            response = self._handle.broadcast("prepare", adapter)
            found = await response.results_async(return_exceptions=True)
        except (RayError, RayServeException) as error:
            return lost(error)
        alive = [one for one in found if not isinstance(one, _LOST)]
        failed = next((one for one in alive or found if one is not None), None)
        return lost(failed) if isinstance(failed, Exception) else failed

    async def keep(self, adapters: tuple[AdapterRef, ...]) -> None:
        """On every replica; one that does not hear it is told again later."""
        with suppress(RayError, RayServeException):
            response = self._handle.broadcast("keep", adapters)
            await response.results_async(return_exceptions=True)

    async def ready(self) -> bool:
        """Whether a replica answers soon."""
        with suppress(RayError, RayServeException, TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                return bool(await self._handle.ready.remote())
        return False

    async def _ask(self, method: str, *arguments: Any) -> Any:
        for _ in range(ATTEMPTS):
            try:
                return await getattr(self._handle, method).remote(*arguments)
            except _LOST as error:
                last = error
            except (BackPressureError, DeploymentUnavailableError) as error:
                return no_room(error)
        return lost(last)
