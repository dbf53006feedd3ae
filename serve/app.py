"""The Ray Serve application: an ingress for HTTP, and replicas that hold the engine.

`build` is used by `serve.run` and by the YAML of `serve deploy` (`import_path: serve.app:build`).
Deployment options in a YAML override the options that are set here.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any, cast

import ray
from pydantic import Field, FiniteFloat, field_validator, model_validator
from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig

from align.gpu_process import limit_memory, prepare_process
from cluster.compat.ray_serve import listen_on_node_address
from cluster.database import open_database
from cluster.pool import accelerator_named
from cluster.registry import Registry, stored_adapter
from cluster.settings import Settings
from cluster.storage import Storage
from serve.access.keys import Keys
from serve.batching.jobs import AdapterRef
from serve.batching.token_text import TokenizerVocabulary
from serve.batching.worker import Worker
from serve.catalogue import SnapshotSource
from serve.client import CoordinatorClient, ReplicaClient
from serve.coordinator import MAX_ONGOING, Coordinator
from serve.experiments import Experiments
from serve.http.api import create_api
from serve.http.backend import Backend
from serve.metrics.reporter import report_regularly
from serve.replica_port import check_closed
from serve.sizes import Sizes

#: Autoscaling adds engines once the existing ones use more than this share of their slots.
FULL = 0.75
#: Seconds between two health checks of an engine; Ray Serve replaces it after three that failed.
HEALTH_SECONDS = 2
#: A stopping ingress waits this much longer than a stopping engine, in seconds.
INGRESS_DRAIN_SECONDS = 5


class AppArgs(Sizes):
    """What an endpoint serves and where it finds it. None: taken from the replica's environment."""

    base: str = Field(min_length=1)
    home: str | None = None
    database_url: str | None = None
    storage: str | None = None
    cpus: FiniteFloat = Field(default=1, gt=0)  # of each engine; Ray sets as many OMP threads
    gpus: FiniteFloat = Field(default=0, ge=0)
    accelerator: str | None = None  # Ray's name of a GPU's type, such as T4
    keys_asked: bool | None = None  # None: required as soon as an API key was created
    ingresses: int = Field(default=1, ge=1)
    replicas: int = Field(default=1, ge=1)  # engines
    drain_seconds: FiniteFloat = Field(default=20, gt=0)  # a stopping engine's time to finish
    most_replicas: int | None = Field(default=None, ge=1)  # autoscaling's upper bound
    trust_network: bool = False  # start even if Ray requires no token and others can reach it

    @field_validator("accelerator")
    @classmethod
    def _known_accelerator(cls, name: str | None) -> str | None:
        """Reject unknown types: Ray would wait for ever for a type that no machine has."""
        return None if name is None else accelerator_named(name, ())

    @field_validator("gpus")
    @classmethod
    def _whole_gpus(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("beyond 1, an engine takes whole GPUs")
        return gpus

    @model_validator(mode="after")
    def _no_fewer_at_most(self) -> AppArgs:
        if self.most_replicas is not None and self.most_replicas < self.replicas:
            raise ValueError(
                f"most_replicas is {self.most_replicas}, and replicas {self.replicas}: expected at "
                "least as many"
            )
        return self

    def settings(self) -> Settings:
        """Settings of the installation that is served."""
        overrides = {"home": self.home, "database_url": self.database_url, "storage": self.storage}
        return Settings(**{key: value for key, value in overrides.items() if value is not None})


def build(args: AppArgs | dict[str, Any]) -> serve.Application:
    """The application. Its model names are read from the database and kept up to date.

    Ray passes the `args` section of a config as it is. ServeError if other machines can reach a
    Ray that requires no token, unless `trust_network` is set.
    """
    app_args = AppArgs.model_validate(args)
    if not app_args.trust_network:
        check_closed()
    return compose(app_args, EngineReplica)


def compose(args: AppArgs, engines: Any) -> serve.Application:
    """The application over `engines`, a deployment with the interface of `EngineReplica`."""
    tally = Coordinator.bind()  # type: ignore[attr-defined]
    engine = engines.options(**_scale(args)).bind(args, tally)
    ingress = Ingress.options(  # type: ignore[attr-defined]
        num_replicas=args.ingresses,
        # The ingress relays what a stopping engine still generates.
        graceful_shutdown_timeout_s=args.drain_seconds + INGRESS_DRAIN_SECONDS,
    )
    return cast(serve.Application, ingress.bind(args, engine, tally))


def _scale(args: AppArgs) -> dict[str, Any]:
    """Options of the engine deployment: number of replicas, load of each, resources, routing."""
    max_rows = args.slots + args.waiting_rows
    resources: dict[str, Any] = {"num_cpus": args.cpus, "num_gpus": args.gpus}
    if args.accelerator is not None:
        resources["accelerator_type"] = args.accelerator
    options: dict[str, Any] = {
        "ray_actor_options": resources,
        "max_ongoing_requests": max_rows,
        "graceful_shutdown_timeout_s": args.drain_seconds,
        "health_check_period_s": HEALTH_SECONDS,
        "max_queued_requests": max_rows,  # of each ingress; a burst queues briefly for routing
        "request_router_config": RequestRouterConfig(
            # Ray accepts a class or its import path.
            request_router_class="serve.routing.AdapterRouter"  # type: ignore[arg-type]
        ),
    }
    if args.most_replicas is None:
        return {**options, "num_replicas": args.replicas}
    return {
        **options,
        "autoscaling_config": AutoscalingConfig(
            min_replicas=args.replicas,
            max_replicas=args.most_replicas,
            target_ongoing_requests=max(1.0, FULL * args.slots),
        ),
    }


# A base that fails to load fails at every attempt, so the error is reported after the first.
@serve.deployment(max_constructor_retry_count=1)
class EngineReplica(Worker):
    """The worker around an engine in a process of its own."""

    def __init__(self, args: AppArgs, tally: Any) -> None:
        listen_on_node_address()
        settings = args.settings()
        os.environ["ALIGNERY_HOME"] = str(settings.home)  # where embedded bases are unpacked
        gpus = float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0))
        prepare_process(gpus)
        from align.base import load_base
        from align.gpu_preflight import check_card
        from align.inference import load_engine
        from align.memory.serving import needs_of

        if gpus:
            check_card(gpus, needs_of(args.base, args.engine_options()))
            limit_memory(gpus)
        engine = load_engine(args.base, args.engine_options())
        vocabulary = TokenizerVocabulary(load_base(args.base).tokenizer)
        storage = Storage(settings)

        def folder_of(adapter: AdapterRef) -> Path:
            return stored_adapter(storage, adapter.adapter_id)

        super().__init__(engine, folder_of, vocabulary, args.limits())
        report_regularly(uuid.uuid4().hex, self.meter.registry, tally.report.remote)


@serve.deployment(
    max_ongoing_requests=MAX_ONGOING,
    max_constructor_retry_count=1,
    ray_actor_options={"num_cpus": 0},  # it only forwards requests
)
@serve.ingress()
class Ingress:
    """The HTTP interface; holds no model and imports no torch."""

    def __init__(self, args: AppArgs, engine: Any, tally: Any) -> None:
        listen_on_node_address()
        self._args = args
        self._engine = engine
        self._tally = tally

    def __serve_build_asgi_app__(self) -> Any:
        settings = self._args.settings()
        database = open_database(settings)
        registry = Registry(database, Storage(settings))
        source = SnapshotSource(registry, Experiments(database, registry), Keys(database))
        backend = Backend(
            engine=ReplicaClient(self._engine),
            source=source,
            base=self._args.base,
            tally=CoordinatorClient(self._tally),
            keys_asked=self._args.keys_asked,
        )
        report_regularly(backend.process, backend.meter.registry, self._tally.report.remote)
        return create_api(backend)
