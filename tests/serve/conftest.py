from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cluster.database import Database, open_database
from cluster.registry import AdapterVersion, Registry, stored_adapter
from cluster.settings import Settings
from cluster.storage import Storage
from serve.access.keys import Keys
from serve.batching.jobs import AdapterRef
from serve.batching.worker import ReplicaLimits, Worker
from serve.catalogue import SnapshotSource
from serve.experiments import Experiments
from serve.http.api import create_api
from serve.http.backend import Backend
from tests.serve.serve_fakes import BASE, FakeEngine, FakeVocabulary, LocalTally, make_adapter


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An empty installation, also for commands that read the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("ALIGNERY_DATABASE_URL", "ALIGNERY_STORAGE", "ALIGNERY_RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "home"))
    return Settings()


@pytest.fixture
def serve_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged, also below Ray's logger: an endpoint that ran before has made that silent."""
    logger = logging.getLogger("ray.serve")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.setLevel(level)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    yield database
    database.close()


@dataclass
class Adapters:
    """Two SFT versions (the first is champion), a reward adapter, and one of another base."""

    registry: Registry
    first: AdapterVersion
    second: AdapterVersion
    reward: AdapterVersion


@pytest.fixture
def adapters(settings: Settings, database: Database, tmp_path: Path) -> Adapters:
    registry = Registry(database, Storage(settings))

    def add(line: str, content: str, method: str = "sft", base: str = BASE) -> AdapterVersion:
        folder = make_adapter(tmp_path / "made" / content, content, method, base)
        return registry.register(line, folder)

    made = Adapters(
        registry,
        first=add("arithmetic/sft", "one"),
        second=add("arithmetic/sft", "two"),
        reward=add("arithmetic/reward", "three", "reward"),
    )
    add("elsewhere/sft", "four", base="another-base")
    registry.promote("arithmetic/sft", 1)
    return made


@pytest.fixture
def experiments(database: Database, adapters: Adapters) -> Experiments:
    return Experiments(database, adapters.registry)


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def app(
    settings: Settings,
    engine: FakeEngine,
    adapters: Adapters,
    experiments: Experiments,
    keys: Keys,
) -> FastAPI:
    """The HTTP interface over the fake engine, without Ray; it does nothing until it is run."""
    registry, storage = adapters.registry, Storage(settings)

    def folder_of(adapter: AdapterRef) -> Path:
        return stored_adapter(storage, adapter.adapter_id)

    worker = Worker(engine, folder_of, FakeVocabulary(engine.words), ReplicaLimits(waiting=64))
    source = SnapshotSource(registry, experiments, keys)
    return create_api(Backend(worker, source, BASE, LocalTally()))


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    """A client of it."""
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
