"""An engine waits for its share of a card beside trials, and says what is missing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from cluster.ray import ray_session
from cluster.settings import Settings
from cluster.simulated import simulated_pool
from serve.errors import ServeError
from serve.free_resources import free_cpus, free_gpus
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray of one node with two CPUs and a card."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CUDA_VISIBLE_DEVICES", "0")  # also where tests are kept off a card
        with simulated_pool() as pool:
            pool.join(cpus=2, gpus=1, accelerator="T4")
            settings = Settings(home=tmp_path_factory.mktemp("home"), ray_address=pool.address)
            with ray_session(settings):
                yield


class Trial:
    """Holds what it claims."""

    def visible(self) -> str | None:
        import os

        return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.fixture
def trial(card: None) -> Iterator[Any]:
    """An actor that holds a quarter of the card."""
    kind: Any = ray.remote(num_cpus=0, num_gpus=0.25)(Trial)
    actor = kind.remote()
    assert ray.get(actor.visible.remote(), timeout=120) == "0"
    yield actor
    ray.kill(actor)
    wait_until(lambda: ray.available_resources().get("GPU") == 1.0, "the card is free")


def test_an_engine_takes_a_whole_card_unless_it_is_told_otherwise(card: None) -> None:
    assert free_cpus(None) == 2
    assert free_gpus(None, 1) == 1.0
    assert free_gpus(0.5, 2) == 0.5
    assert free_gpus(0, 2) == 0.0


def test_beside_a_trial_there_is_no_whole_card(trial: Any) -> None:
    with pytest.raises(
        ServeError,
        match=r"needs 1 GPU beside 1 CPUs on a machine, and 0\.75 of 1 GPUs .*--gpus \(0",
    ):
        free_gpus(None, 1, patience=1)
    assert free_gpus(0.75, 1) == 0.75
    assert free_gpus(0, 1) == 0.0


def test_it_comes_as_soon_as_the_trial_ends(trial: Any) -> None:
    taken: list[float] = []
    waiting = threading.Thread(target=lambda: taken.append(free_gpus(None, 1, patience=100)))
    waiting.start()
    wait_until(
        lambda: any(
            group["state"] == "PENDING" for group in ray.util.placement_group_table().values()
        ),
        "a claim for the card waits",
    )
    assert taken == []
    ray.kill(trial)
    waiting.join(100)
    assert taken == [1.0]


@pytest.mark.parametrize("gpus", [2.0, 1.5, float("nan"), float("inf")])
def test_more_than_there_is_is_refused_at_once(card: None, gpus: float) -> None:
    with pytest.raises(ServeError, match=r"needs .* GPUs? and this Ray has 1; ask for less"):
        free_gpus(gpus, 1, patience=0)


def test_work_that_claims_no_card_sees_none(card: None) -> None:
    """Ray 2.60 hides none of itself."""
    kind: Any = ray.remote(num_cpus=1)(Trial)
    actor = kind.remote()
    assert ray.get(actor.visible.remote(), timeout=120) == ""
    ray.kill(actor)
