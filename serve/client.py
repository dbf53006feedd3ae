"""The ingress's clients for engine replicas and the coordinator, over Ray Serve handles."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

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
    EngineClient,
    Event,
    GenerateJob,
    Refused,
    Text,
)
from serve.errors import ServeError
from serve.metrics.snapshots import MetricsSnapshot

_log = logging.getLogger("ray.serve")

P = ParamSpec("P")
T = TypeVar("T")

READY_SECONDS = 5
#: Replicas on which a request is tried in turn, as long as each dies while it has the request.
ATTEMPTS = 3

#: Errors that mean that the replica died, and its unfinished work with it.
_LOST = (
    RayActorError,
    NodeDiedError,
    WorkerCrashedError,
    ObjectLostError,
    ReplicaUnavailableError,
)


class CoordinatorClient:
    """`RateLimits` and `Metrics` over a handle to the `Coordinator`.

    While the coordinator cannot be reached, requests pass without limits. API keys are still
    checked, since the ingress itself knows them.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def admit(self, key: Key) -> float:
        """See `RateLimits`."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                return float(await self._handle.admit.remote(key))
        except (RayError, RayServeException, TimeoutError) as error:
            _log.warning("limits cannot be counted: %s", type(error).__name__)
            return 0.0

    async def spend(self, key: Key, tokens: int) -> None:
        """See `RateLimits`."""
        # In a separate context: when a client hangs up, Ray cancels all calls of its request.
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


def _forwarded(
    method: Callable[Concatenate[EngineClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[ReplicaClient, P], Coroutine[Any, Any, T | Refused]]:
    """A method of `ReplicaClient` that calls `method` of a replica, with its parameters."""

    async def call(client: ReplicaClient, /, *args: P.args, **kwargs: P.kwargs) -> T | Refused:
        for _ in range(ATTEMPTS):
            try:
                remote = getattr(client._handle, method.__name__).remote
                return cast("T | Refused", await remote(*args, **kwargs))
            except _LOST as error:
                last = error
            except (BackPressureError, DeploymentUnavailableError) as error:
                return no_room(error)
        return lost(last)

    return wraps(method)(call)


class ReplicaClient:
    """`EngineClient` over a handle to `EngineReplica`.

    A request whose replica dies is retried on another replica, unless part of its answer was
    streamed already.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._streaming = handle.options(stream=True)

    complete = _forwarded(EngineClient.complete)
    score = _forwarded(EngineClient.score)
    tokenize = _forwarded(EngineClient.tokenize)

    async def stream(self, job: GenerateJob) -> AsyncGenerator[list[Event], None]:
        """See `EngineClient`."""
        accepted = False
        for attempt in range(1, ATTEMPTS + 1):
            begun = False
            response = self._streaming.stream.remote(job)
            try:
                async for events in response:
                    new_events = [
                        event for event in events if not (accepted and isinstance(event, Accepted))
                    ]
                    accepted = accepted or any(isinstance(event, Accepted) for event in events)
                    begun = begun or any(isinstance(event, Text | Done) for event in events)
                    if new_events:
                        yield new_events
                return
            except _LOST as error:
                if begun or attempt == ATTEMPTS:
                    yield [lost(error)]
                    return
            except (BackPressureError, DeploymentUnavailableError) as error:
                yield [no_room(error)]
                return
            finally:
                # A call that failed before it reached a replica raises its error here again.
                with suppress(RayError, RayServeException):
                    response.cancel()

    async def prepare(self, adapter: AdapterRef) -> Refused | None:
        """Call every replica. Replicas that die meanwhile are ignored if any other answered."""
        try:
            response = self._handle.broadcast("prepare", adapter)
            results = await response.results_async(return_exceptions=True)
        except (RayError, RayServeException) as error:
            return lost(error)
        alive = [result for result in results if not isinstance(result, _LOST)]
        failed = next((result for result in alive or results if result is not None), None)
        return lost(failed) if isinstance(failed, Exception) else failed

    async def keep(self, adapters: tuple[AdapterRef, ...]) -> None:
        """Call every replica. A failed call is ignored: the catalogue repeats it regularly."""
        with suppress(RayError, RayServeException):
            response = self._handle.broadcast("keep", adapters)
            await response.results_async(return_exceptions=True)

    async def ready(self) -> bool:
        """Whether a replica answers within `READY_SECONDS`."""
        with suppress(RayError, RayServeException, TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                return bool(await self._handle.ready.remote())
        return False
