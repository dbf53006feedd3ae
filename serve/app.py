"""The Ray Serve application: an ingress for HTTP, and replicas that hold the engine.

`build` serves both `serve.run` and the YAML of `serve deploy` (`import_path: serve.app:build`);
a YAML's deployment options override what stands here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

from pydantic import Field
from ray import serve

from cluster.database import open_database
from cluster.registry import Registry, open_registry
from cluster.settings import Settings
from cluster.storage import Storage
from serve.batching.jobs import AdapterRef, Event, GenerateJob, Outcome, Refused, ScoreJob
from serve.batching.tokens import TokenizerVocabulary
from serve.batching.worker import Worker
from serve.experiments import Experiments
from serve.http.api import Backend, create_api
from serve.http.names import Names
from serve.sizes import Sizes

#: Ray Serve's own default, 5, would leave an engine with 64 slots mostly empty.
MAX_ONGOING = 2000
READY_SECONDS = 5


class AppArgs(Sizes):
    """What an endpoint serves and where it finds it; None: as the replica's environment says."""

    base: str
    home: str | None = None
    database_url: str | None = None
    storage: str | None = None
    cpus: float = Field(default=1, gt=0)  # of the engine; Ray gives it as many OMP threads
    gpus: float = Field(default=0, ge=0)

    def settings(self) -> Settings:
        """Settings of the installation that is served."""
        given = {"home": self.home, "database_url": self.database_url, "storage": self.storage}
        return Settings(**{key: value for key, value in given.items() if value is not None})


def build(args: AppArgs) -> serve.Application:
    """The application; the names it answers to are read from the database at each request."""
    resources = {"num_cpus": args.cpus, "num_gpus": args.gpus}
    engine = EngineReplica.options(ray_actor_options=resources).bind(args)  # type: ignore[attr-defined]
    return cast(serve.Application, Ingress.bind(args, engine))  # type: ignore[attr-defined]


# A base that cannot be loaded will not load at the second attempt either: say so at once.
@serve.deployment(max_ongoing_requests=MAX_ONGOING, max_constructor_retry_count=1)
class EngineReplica:
    """One engine in one process: an `EngineClient` for handles."""

    def __init__(self, args: AppArgs) -> None:
        settings = args.settings()
        os.environ["ALIGNERY_HOME"] = str(settings.home)  # where embedded bases are unpacked
        from align.base import load_base
        from align.inference import load_engine

        engine = load_engine(args.base, args.engine_options())
        vocabulary = TokenizerVocabulary(load_base(args.base).tokenizer)
        registry = open_registry(settings)

        def folder_of(adapter: AdapterRef) -> Path:
            return registry.folder(registry.resolve(adapter.name))

        self._worker = Worker(engine, folder_of, vocabulary, args.limits())

    async def complete(self, job: GenerateJob) -> Outcome | Refused:
        """See `EngineClient`."""
        return await self._worker.complete(job)

    async def stream(self, job: GenerateJob) -> AsyncGenerator[list[Event], None]:
        """See `EngineClient`."""
        async for events in self._worker.stream(job):
            yield events

    async def score(self, job: ScoreJob) -> list[float] | Refused:
        """See `EngineClient`."""
        return await self._worker.score(job)

    async def ready(self) -> bool:
        """See `EngineClient`."""
        return await self._worker.ready()


@serve.deployment(
    max_ongoing_requests=MAX_ONGOING,
    max_constructor_retry_count=1,
    ray_actor_options={"num_cpus": 0},  # it waits, and the engine works
)
@serve.ingress()
class Ingress:
    """The HTTP interface; holds no model and imports no torch."""

    def __init__(self, args: AppArgs, engine: Any) -> None:
        self._args = args
        self._engine = engine

    def __serve_build_asgi_app__(self) -> Any:
        settings = self._args.settings()
        database = open_database(settings)
        registry = Registry(database, Storage(settings))
        experiments = Experiments(database, registry)
        names = Names(registry, experiments, self._args.base)
        return create_api(Backend(ReplicaClient(self._engine), names, experiments))


class ReplicaClient:
    """`EngineClient` over a handle to `EngineReplica`."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def complete(self, job: GenerateJob) -> Outcome | Refused:
        """See `EngineClient`."""
        return cast("Outcome | Refused", await self._handle.complete.remote(job))

    async def stream(self, job: GenerateJob) -> AsyncGenerator[list[Event], None]:
        """See `EngineClient`."""
        response = self._handle.options(stream=True).stream.remote(job)
        try:
            async for events in response:
                yield events
        finally:
            response.cancel()

    async def score(self, job: ScoreJob) -> list[float] | Refused:
        """See `EngineClient`."""
        return cast("list[float] | Refused", await self._handle.score.remote(job))

    async def ready(self) -> bool:
        """Whether a replica answers soon."""
        try:
            return bool(await asyncio.wait_for(self._ask(), READY_SECONDS))
        except TimeoutError:
            return False

    async def _ask(self) -> Any:
        return await self._handle.ready.remote()
