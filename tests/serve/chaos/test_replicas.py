"""Several engines and ingresses behind one endpoint: who gets what, growth, loss and drain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from cluster.ray import ray_session
from cluster.registry import Registry, open_registry
from cluster.settings import Settings
from serve.app import AppArgs, build
from serve.deployment.config import APPLICATION
from serve.server import running_server
from serve.sizes import Sizes
from tests.serve.asking import LINE, Load, connect, gauge, right_answers
from tests.serve.real_adapters import BASE, installation, real_adapter
from tests.waiting import wait_until

pytestmark = pytest.mark.chaos

VERSIONS = 6
SIZES = Sizes(slots=4, slot_tokens=500, kv_gib=0.5, adapters=2)


def patiently(condition: Callable[[], Any]) -> Any:
    """Engines take their time to come."""
    return wait_until(condition, seconds=600)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with installation(tmp_path_factory.mktemp("replicas")) as settings:
        yield settings


@pytest.fixture(scope="module")
def registry(home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    made = open_registry(home)
    for seed in range(VERSIONS):
        made.register(LINE, real_adapter(tmp_path_factory.mktemp("made") / "it", "sft", seed))
    return made


@pytest.fixture(scope="module")
def local_ray(home: Settings) -> Iterator[None]:
    with ray_session(home, num_cpus=2):
        yield


@contextmanager
def serving(home: Settings, **scale: Any) -> Iterator[str]:
    """An endpoint of so many processes, each engine with half a CPU."""

    def application(args: AppArgs) -> Any:
        return build(args.model_copy(update={"cpus": 0.5, **scale}))

    with running_server(home, BASE, cpus=1, sizes=SIZES, application=application) as url:
        yield url


def running_engines() -> int:
    from ray import serve

    replicas = serve.status().applications[APPLICATION].deployments["EngineReplica"]
    return dict(replicas.replica_states).get("RUNNING", 0)


def test_an_adapter_is_where_it_was_and_a_promoted_one_everywhere(home, registry, local_ray):
    with serving(home, replicas=2, ingresses=2) as url:
        for _ in range(3):
            right = right_answers(url, registry)
        assert len(right) == VERSIONS * 3
        # Each is on one engine; were they given out at random, nearly all would be on both.
        patiently(lambda: gauge(url, "alignery_known_adapters") == VERSIONS)
        client = connect(url)
        registry.promote(LINE, 1)
        patiently(lambda: f"{LINE}@champion" in {one.id for one in client.models.list()})
        with Load(url) as load:
            for number in (2, 3, 1, 2):
                load.more()
                registry.promote(LINE, number)
                patiently(lambda: gauge(url, "alignery_alias_moves_failed") == 0)
            load.more(40)
        assert set(load.answers) <= right
        patiently(lambda: gauge(url, "alignery_known_adapters") > VERSIONS)


@pytest.mark.parametrize("replicas", [1, 2])
def test_no_request_without_an_answer_is_lost_with_an_engine(home, registry, local_ray, replicas):
    registry.promote(LINE, 1)
    with serving(home, replicas=replicas) as url:
        right = right_answers(url, registry)
        with Load(url, streams=False) as load:
            for _ in range(2):
                patiently(lambda: running_engines() == replicas)
                load.more()
                processes = psutil.Process().children(recursive=True)
                next(one for one in processes if "EngineReplica" in " ".join(one.cmdline())).kill()
                load.more(24)
        assert set(load.answers) <= right


def test_engines_become_more_under_load(home, registry, local_ray):
    registry.promote(LINE, 1)
    with serving(home, replicas=1, most_replicas=2) as url:
        right = right_answers(url, registry)
        assert running_engines() == 1
        with Load(url, clients=12) as load:
            patiently(lambda: running_engines() == 2)
            load.more(40)
        assert set(load.answers) <= right


def test_streams_end_whole_on_an_engine_that_leaves(home, registry, local_ray):
    from ray import serve

    registry.promote(LINE, 1)
    with serving(home, drain_seconds=60) as url:
        client = connect(url)
        asked: dict[str, Any] = {
            "model": f"{LINE}:1", "prompt": "one", "max_tokens": 400, "temperature": 0, "n": 2,
            "extra_body": {"ignore_eos": True},
        }  # fmt: skip
        whole = client.completions.create(**asked).choices[0]
        begun: list[str] = []

        def stream() -> str:
            rows = ["", ""]
            for part in client.completions.create(**asked, stream=True):
                begun.append(part.id)
                rows[part.choices[0].index] += part.choices[0].text
            return "|".join(rows)

        args = AppArgs(base=BASE, cpus=0.5, **{**SIZES.model_dump(), "default_max_tokens": 16})
        with ThreadPoolExecutor(9) as pool:
            streams = [pool.submit(stream) for _ in range(8)]  # half of them have to wait
            patiently(lambda: begun)
            change = pool.submit(serve.run, build(args), name=APPLICATION, route_prefix="/")
            patiently(lambda: running_engines() == 0)
            assert not all(one.done() for one in streams)
            assert {one.result() for one in streams} == {f"{whole.text}|{whole.text}"}
            change.result()
        short = client.completions.create(
            model="base", prompt="one", extra_body={"ignore_eos": True}
        )
        assert short.usage is not None and short.usage.completion_tokens == 16
