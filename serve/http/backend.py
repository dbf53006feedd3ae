"""The objects that the routes use."""

from __future__ import annotations

import uuid
from typing import Protocol, cast

from fastapi import Request

from serve.access.limits import RateLimits
from serve.batching.jobs import EngineClient
from serve.catalogue import Catalogue, SnapshotSource
from serve.experiments.exposures import Exposures
from serve.http.model_resolver import ModelResolver
from serve.metrics.aggregator import Metrics
from serve.metrics.requests import RequestMeter
from serve.metrics.snapshots import watch


class CoordinatorProtocol(RateLimits, Metrics, Protocol):
    """Counts over all replicas: the use of API keys, and metrics."""


class Backend:
    """The objects that the routes use: an engine, a database's names and keys, limits, metrics.

    `keys_asked`: see `serve.http.auth_middleware.AuthMiddleware`.
    """

    def __init__(
        self,
        engine: EngineClient,
        source: SnapshotSource,
        base: str,
        tally: CoordinatorProtocol,
        keys_asked: bool | None = None,
    ) -> None:
        self.engine = engine
        self.tally = tally
        self.keys_asked = keys_asked
        self.process = uuid.uuid4().hex
        self.meter = RequestMeter()
        self.catalogue = Catalogue(source, base, engine)
        watch(
            self.meter.registry,
            "alignery_alias_moves_failed",
            "Aliases that could not follow the registry; summed over ingress replicas.",
            lambda: len(self.catalogue.moves.failures),
        )
        watch(
            self.meter.registry,
            "alignery_database_away",
            "Ingress replicas that could not read the database when they last looked.",
            lambda: self.catalogue.trouble is not None,
        )
        self.names = ModelResolver(self.catalogue)
        self.experiments = source.experiments
        self.exposures = Exposures(source.experiments)


def backend_of(request: Request) -> Backend:
    """The backend of the request's application."""
    return cast(Backend, request.app.state.backend)
