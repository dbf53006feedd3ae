"""What one worker prepared reaches the others through Ray's object store."""

import os
from pathlib import Path

import pytest
import ray

from align import artifact_cache
from sweeps.pool.ray_artifact_cache import RayShelf, shelf_session, use_shelf
from tests.waiting import wait_until


@ray.remote(num_cpus=0)
class Machine:
    """A worker with a home of its own, as one on another machine has."""

    def __init__(self, home: str, shelf: str) -> None:
        os.environ["ALIGNERY_HOME"] = home
        use_shelf(shelf)

    def prepare(self, key: str) -> tuple[list[str], list[int]]:
        """What had to be computed here, and the rows."""
        from datasets import Dataset

        from align.evaluation import eval_cache
        from align.methods.trainers import prepared

        computed = []

        def rows():
            computed.append("rows")
            return Dataset.from_dict({"input_ids": [[1, 2, 3], [4]]})

        def measured():
            computed.append("measured")
            return [0.5, 1.5]

        found = prepared.kept(key, rows)["input_ids"]
        assert eval_cache.kept(key, measured) == [0.5, 1.5]
        return computed, list(found)

    def offer(self, key: str, text: str) -> None:
        file = Path(os.environ["ALIGNERY_HOME"]) / key
        file.write_text(text)
        artifact_cache.shelf().offer("reference", key, file)

    def fetch(self, key: str) -> str | None:
        file = Path(os.environ["ALIGNERY_HOME"]) / f"fetched-{key}"
        return file.read_text() if artifact_cache.shelf().fetch("reference", key, file) else None

    def die(self) -> None:
        os._exit(1)


@pytest.fixture
def machine(local_ray, tmp_path):
    """Start machines on one shelf; they end with the test."""
    started = []

    def start(shelf):
        home = tmp_path / f"machine-{len(started)}"
        home.mkdir()
        started.append(Machine.remote(str(home), shelf))
        return started[-1]

    yield start
    for one in started:
        ray.kill(one)


def test_what_a_worker_prepared_is_not_computed_by_others_and_outlives_it(machine):
    with shelf_session() as shelf:
        first, second = machine(shelf), machine(shelf)
        computed, rows = ray.get(first.prepare.remote("a" * 64))
        assert sorted(computed) == ["measured", "rows"]
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(first.die.remote())
        assert ray.get(second.prepare.remote("a" * 64)) == ([], rows)
        assert ray.get(second.prepare.remote("b" * 64))[0] == ["rows", "measured"]


def test_what_was_not_asked_for_longest_makes_room(machine):
    with shelf_session(most_bytes=25) as shelf:
        one = machine(shelf)
        for key in ("a", "b"):
            ray.get(one.offer.remote(key, key * 10))
        assert ray.get(one.fetch.remote("a")) == "a" * 10
        ray.get(one.offer.remote("c", "c" * 10))
        ray.get(one.offer.remote("d", "d" * 26))  # more than it may hold
        found = ray.get([one.fetch.remote(key) for key in "abcd"])
        assert found == ["a" * 10, None, "c" * 10, None]


def _end(actor):
    """Kill it, and wait until Ray has: it answers for a moment longer."""
    ray.kill(actor)
    wait_until(lambda: _is_gone(actor), "the killed actor is gone")


def _is_gone(actor):
    try:
        ray.get(actor.wants.remote("", "", 0))
    except ray.exceptions.RayActorError:
        return True
    return False


def test_a_shelf_that_is_gone_has_nothing(machine, tmp_path):
    with shelf_session() as shelf:
        one = machine(shelf)
        ray.get(one.offer.remote("a", "text"))
        _end(ray.get_actor(shelf))
        assert ray.get(one.fetch.remote("a")) is None
        computed, _ = ray.get(one.prepare.remote("c" * 64))
        assert sorted(computed) == ["measured", "rows"]
    late = RayShelf(shelf)
    late.offer("reference", "x", tmp_path)
    assert not late.fetch("reference", "x", tmp_path / "there")


def test_a_process_without_a_shelf_shares_with_none(tmp_path):
    before = artifact_cache.shelf()
    try:
        use_shelf(None)
        artifact_cache.shelf().offer("reference", "x", tmp_path)
        assert not artifact_cache.shelf().fetch("reference", "x", tmp_path / "there")
    finally:
        artifact_cache.install(before)
