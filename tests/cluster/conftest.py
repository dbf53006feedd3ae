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

from align.adapters import Manifest, adapter_id, write_manifest
from cluster.authentication import warn_open
from cluster.database import Database, open_database
from cluster.registry import Registry
from cluster.settings import Settings
from cluster.storage import Storage
from tests.fake_dashboard import Dashboard, fake_dashboard
from tests.fake_proxy import Proxy, fake_proxy

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


@pytest.fixture
def settings(database_settings: Settings) -> Settings:
    """Settings with an empty database, once on each kind that is supported."""
    return database_settings


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings)
    yield opened
    opened.close()


@pytest.fixture
def registry(database: Database, settings: Settings) -> Registry:
    return Registry(database, Storage(settings))


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dashboard]:
    """A dashboard of Ray that asks nobody for a token, in an environment that names none."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    warn_open.cache_clear()
    with fake_dashboard() as server:
        yield server


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy that the environment names for every scheme, without exceptions."""
    with fake_proxy() as server:
        server.set_in(monkeypatch)
        yield server
