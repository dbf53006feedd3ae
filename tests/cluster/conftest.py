"""An installation in a temporary folder, and adapters small enough to make by the dozen."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from sqlalchemy import create_engine, make_url, text

from align.adapter import Manifest, adapter_id, write_manifest
from cluster.database import Database, open_database
from cluster.registry import Registry
from cluster.settings import Settings
from cluster.storage import Storage

POSTGRES = "ALIGNERY_TEST_POSTGRES_URL"

MakeAdapter = Callable[..., Path]


@pytest.fixture(autouse=True)
def _clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no .env of the person who runs the tests reaches them."""
    for name in os.environ:
        if name.startswith("ALIGNERY_") and name != POSTGRES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def make_adapter(tmp_path: Path) -> MakeAdapter:
    """Write an adapter folder; the same `seed` gives the same content and so the same id."""

    def make(seed: int = 0, **manifest: Any) -> Path:
        folder = tmp_path / f"adapter-{seed}-{uuid.uuid4().hex[:6]}"
        folder.mkdir()
        weights = np.full((2, 4), seed, dtype=np.float32)
        save_file({"base_model.model.q_proj.lora_A.weight": weights}, folder / ADAPTER_TENSORS)
        config = {"peft_type": "LORA", "r": 2, "base_model_name_or_path": str(folder)}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        fields = {
            "base": "tiny-random",
            "base_digest": "0" * 64,
            "line": "arithmetic/sft",
            "method": "sft",
            "rank": 2,
            "metrics": {"accuracy": 0.5},
        }
        write_manifest(folder, Manifest(**{"id": adapter_id(folder), **fields, **manifest}))
        return folder

    return make


ADAPTER_TENSORS = "adapter_model.safetensors"


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, home: Path) -> Iterator[Settings]:
    """Settings with an empty database, once on each kind that is supported."""
    if request.param == "sqlite":
        yield Settings(home=home)
        return
    if POSTGRES not in os.environ:
        pytest.skip(f"set {POSTGRES}=postgresql://user@host/database to test PostgreSQL too")
    with _fresh_postgres(os.environ[POSTGRES]) as url:
        yield Settings(home=home, database_url=url)


class _fresh_postgres:
    """A database of its own on the given server, dropped at the end."""

    def __init__(self, url: str) -> None:
        self._name = f"alignery_test_{uuid.uuid4().hex[:12]}"
        self._url = make_url(Settings(database_url=url).database_url)
        self._server = create_engine(self._url, isolation_level="AUTOCOMMIT")

    def __enter__(self) -> str:
        with self._server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {self._name}"))
        return self._url.set(database=self._name).render_as_string(hide_password=False)

    def __exit__(self, *_: object) -> None:
        with self._server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {self._name} WITH (FORCE)"))
        self._server.dispose()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings)
    yield opened
    opened.close()


@pytest.fixture
def registry(database: Database, settings: Settings) -> Registry:
    return Registry(database, Storage(settings))
