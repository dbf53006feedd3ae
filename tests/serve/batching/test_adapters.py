"""Adapters on their way to the engine: fetched aside, kept while used, forgotten in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from serve.batching.jobs import AdapterRef, GenerateJob, Outcome, Refused
from serve.batching.worker import ReplicaLimits, Worker
from tests.serve.serve_fakes import FakeEngine, FakeVocabulary, make_adapter
from tests.waiting import await_until

CHAT = ({"role": "user", "content": "hello"},)


def adapter(name: str) -> AdapterRef:
    return AdapterRef(f"{name * 8}-id", f"arithmetic/{name}:1")


def job(name: str) -> GenerateJob:
    return GenerateJob((CHAT,), adapter(name))


def go(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 120))


class Storage:
    """Where adapters are fetched from; `open` lets those through that wait."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.fetched: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def folder_of(self, one: AdapterRef) -> Path:
        self.fetched.append(one.name)
        assert self.open.wait(120)
        return self._folder


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(make_adapter(tmp_path / "adapter", "x"))


@pytest.fixture
def make_worker(storage: Storage) -> Callable[..., Worker]:
    def make(engine: FakeEngine, **limits: Any) -> Worker:
        vocabulary = FakeVocabulary(engine.words)
        return Worker(engine, storage.folder_of, vocabulary, ReplicaLimits(**limits))

    return make


def test_fetching_holds_up_nobody_else_and_is_done_once(make_worker, storage):
    worker = make_worker(FakeEngine())

    async def ask() -> list[Outcome]:
        storage.open.clear()
        waiting = [asyncio.create_task(worker.complete(job("a"))) for _ in range(3)]
        assert isinstance(await worker.complete(GenerateJob((CHAT,))), Outcome)
        assert not any(one.done() for one in waiting)
        storage.open.set()
        return [*(await asyncio.gather(*waiting)), await worker.complete(job("a"))]

    assert {one.rows[0].text.split()[0] for one in go(ask())} == {"aaaaaaaa"}
    assert storage.fetched == ["arithmetic/a:1"]


def test_one_that_hangs_up_does_not_end_the_fetch_of_others(make_worker, storage):
    worker = make_worker(FakeEngine())

    async def ask() -> Outcome | Refused:
        storage.open.clear()
        leaves, stays = (asyncio.create_task(worker.complete(job("a"))) for _ in range(2))
        await await_until(lambda: storage.fetched, "the adapter is fetched")
        leaves.cancel()
        await asyncio.sleep(0)
        storage.open.set()
        return await stays

    assert isinstance(go(ask()), Outcome)
    assert len(storage.fetched) == 1


def test_the_least_recently_used_adapter_is_forgotten(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine, known_adapters=2)

    async def ask() -> None:
        for name in "abac":
            assert isinstance(await worker.complete(job(name)), Outcome)

    go(ask())
    assert engine.loaded == {adapter("a").adapter_id, adapter("c").adapter_id}


def test_adapters_that_fill_the_hosts_memory_are_forgotten(make_worker, storage):
    engine = FakeEngine()
    size = sum(file.stat().st_size for file in storage.folder_of(adapter("a")).iterdir())
    worker = make_worker(engine, known_bytes=2 * size + 1)

    async def ask() -> None:
        for name in "abac":
            assert isinstance(await worker.complete(job(name)), Outcome)

    go(ask())
    assert engine.loaded == {adapter("a").adapter_id, adapter("c").adapter_id}
    small = make_worker(other := FakeEngine(), known_bytes=1)
    assert isinstance(go(small.complete(job("a"))), Outcome)  # what is asked for is loaded
    assert other.loaded == {adapter("a").adapter_id}


def test_an_adapter_with_work_in_flight_is_not_forgotten(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine, known_adapters=1)

    async def ask() -> list[set[str]]:
        assert isinstance(await worker.complete(job("a")), Outcome)
        engine.pause()
        long = GenerateJob((CHAT,), adapter("a"), max_tokens=190, ignore_eos=True)
        one, other = (asyncio.create_task(worker.complete(each)) for each in (long, job("b")))
        await await_until(
            lambda: adapter("b").adapter_id in engine.loaded,
            "the other adapter is loaded",
            step=engine.one_step,
        )
        known = [set(engine.loaded)]
        engine.resume()
        assert all(isinstance(each, Outcome) for each in await asyncio.gather(one, other))
        await worker.complete(job("c"))
        return [*known, set(engine.loaded)]

    during, after = go(ask())
    assert during == {adapter("a").adapter_id, adapter("b").adapter_id}
    assert after == {adapter("c").adapter_id}


def test_an_adapter_that_cannot_be_loaded_fails_alone_and_is_tried_again(make_worker, storage):
    engine = FakeEngine()
    engine.unloadable = {adapter("b").adapter_id}
    worker = make_worker(engine)

    async def ask() -> list[Outcome | Refused]:
        first = await asyncio.gather(*(worker.complete(job(name)) for name in "abb"))
        engine.unloadable = set()
        return [*first, await worker.complete(job("b"))]

    good, *bad, later = go(ask())
    assert isinstance(good, Outcome) and isinstance(later, Outcome)
    for one in bad:
        assert one.status == 503 and "does not fit" in one.message


def test_prepared_is_loaded_and_says_why_it_cannot_be(make_worker):
    engine = FakeEngine()
    engine.unloadable = {adapter("b").adapter_id}
    worker = make_worker(engine)

    async def ask() -> list[Refused | None]:
        return [await worker.prepare(adapter(name)) for name in "ab"]

    fine, refused = go(ask())
    assert fine is None and engine.loaded == {adapter("a").adapter_id}
    assert refused is not None and "does not fit" in refused.message


def test_kept_adapters_are_loaded_ahead_and_not_forgotten(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine, known_adapters=2)
    kept = adapter("k").adapter_id

    async def ask() -> None:
        await worker.keep((adapter("k"),))
        await await_until(lambda: engine.loaded == engine.kept == {kept})
        for name in "abc":
            assert isinstance(await worker.complete(job(name)), Outcome)
        assert engine.loaded == {kept, adapter("c").adapter_id}
        await worker.keep((adapter("a"),))
        await await_until(lambda: engine.kept == {adapter("a").adapter_id} <= engine.loaded)
        await worker.complete(job("d"))

    go(ask())
    assert engine.loaded == {adapter("a").adapter_id, adapter("d").adapter_id}


def test_more_kept_adapters_than_there_is_room_leave_room_for_one_more(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine, known_adapters=3)

    async def ask() -> None:
        await worker.keep(tuple(map(adapter, "pqrs")))
        await await_until(lambda: len(engine.loaded) == 2)
        for name in "ab":
            assert isinstance(await worker.complete(job(name)), Outcome)

    go(ask())
    assert engine.loaded == {adapter(name).adapter_id for name in "pqb"}


def test_one_that_cannot_be_kept_leaves_the_others_and_is_tried_again(make_worker):
    engine = FakeEngine()
    engine.unloadable = {adapter("a").adapter_id}
    worker = make_worker(engine)
    both = tuple(map(adapter, "ab"))

    async def ask() -> None:
        await worker.keep(both)
        await await_until(lambda: engine.loaded == {adapter("b").adapter_id})
        engine.unloadable = set()

        async def keep() -> None:
            await worker.keep(both)
            await asyncio.sleep(0.005)

        await await_until(lambda: len(engine.loaded) == 2, "both are loaded", step=keep)

    go(ask())


def test_a_request_does_not_wait_for_ever_for_its_adapter(make_worker, storage):
    worker = make_worker(FakeEngine(), adapter_seconds=0.05)

    async def ask() -> list[Outcome | Refused]:
        storage.open.clear()
        late = await worker.complete(job("a"))
        storage.open.set()
        again = await worker.complete(job("a"))
        return [late, again]

    late, again = go(ask())
    assert late.status == 503 and "still on its way" in late.message
    assert isinstance(again, Outcome) and len(storage.fetched) == 1


def test_many_that_come_at_once_forget_each_other_once(make_worker):
    engine = FakeEngine()
    worker = make_worker(engine, known_adapters=2)

    async def ask() -> list[Outcome | Refused]:
        found: list[Outcome | Refused] = []
        for names in ("abcd", "efgh", "abef", "cdgh", "aaaa"):
            found += await asyncio.gather(*(worker.complete(job(name)) for name in names))
        return found

    for one in go(ask()):
        assert isinstance(one, Outcome), one
