"""A real endpoint that is asked all the time, while its engine is killed."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from asking import LINE, Load, right_answers
from real_adapters import BASE, installation, real_adapter

from cluster.ray import ray_session
from cluster.registry import Registry, open_registry
from cluster.settings import Settings
from serve.server import running_server
from serve.sizes import Sizes


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with installation(tmp_path_factory.mktemp("live")) as settings:
        yield settings


@pytest.fixture(scope="module")
def registry(home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Two versions of one line; the first is its champion."""
    made = open_registry(home)
    for seed in (0, 1):
        made.register(LINE, real_adapter(tmp_path_factory.mktemp("made") / "it", "sft", seed))
    made.promote(LINE, 1)
    return made


@pytest.fixture(scope="module")
def url(home: Settings, registry: Registry) -> Iterator[str]:
    sizes = Sizes(slots=8, slot_tokens=500, kv_gib=0.5, adapters=1)
    with ray_session(home, num_cpus=1), running_server(home, BASE, cpus=1, sizes=sizes) as url:
        yield url


@pytest.mark.chaos
def test_a_killed_engine_loses_no_request_that_had_no_answer_yet(url, registry):
    expected = right_answers(url, registry)
    with Load(url, streams=False) as load:
        for _ in range(2):
            load.more()
            engine = next(one for one in engines() if one.is_running())
            engine.kill()
            load.more()
    assert set(load.answers) <= expected


def engines() -> list[psutil.Process]:
    """The processes that hold an engine."""
    found = psutil.Process().children(recursive=True)
    return [one for one in found if "EngineReplica" in " ".join(one.cmdline())]
