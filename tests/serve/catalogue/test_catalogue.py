"""The names of an endpoint while the registry, the engine and the database change behind it."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cluster.errors import DatabaseError
from serve.catalogue import Catalogue, Snapshot, SnapshotSource
from serve.experiments import VariantSpec
from tests.serve.serve_fakes import ask, make_adapter
from tests.waiting import await_until, wait_until

CHAMPION = "arithmetic/sft@champion"


def who(api: Any, model: str = CHAMPION) -> str:
    response = ask(api, model=model)
    assert response.status_code == 200, response.text
    return str(response.json()["system_fingerprint"])


def test_a_promotion_and_a_rollback_are_followed(api, adapters):
    assert who(api) == adapters.first.adapter_id
    adapters.registry.promote("arithmetic/sft", 2)
    wait_until(lambda: who(api) == adapters.second.adapter_id)
    adapters.registry.rollback("arithmetic/sft")
    wait_until(lambda: who(api) == adapters.first.adapter_id)


def test_a_name_does_not_move_before_its_adapter_is_loaded(api, adapters, engine):
    engine.unloadable = {adapters.second.adapter_id}
    adapters.registry.promote("arithmetic/sft", 2)
    model = wait_until(
        lambda: (one := api.get(f"/v1/models/{CHAMPION}").json()).get("move_failed") and one
    )
    assert (model["adapter_id"], model["moving_to"]) == (
        adapters.first.adapter_id,
        adapters.second.adapter_id,
    )
    assert "does not fit" in model["move_failed"]
    ready = api.get("/readyz")
    assert ready.status_code == 200 and "does not fit" in ready.json()["moves_failed"][CHAMPION]
    assert who(api) == adapters.first.adapter_id
    listed = {one["id"]: one for one in api.get("/v1/models").json()["data"]}
    assert listed[CHAMPION]["moving_to"] == adapters.second.adapter_id


def test_what_moves_is_loaded_before_anybody_asks_for_it(api, adapters, engine):
    adapters.registry.promote("arithmetic/sft", 2)
    wait_until(lambda: "moving_to" not in (api.get(f"/v1/models/{CHAMPION}").json()))
    wait_until(
        lambda: api.get(f"/v1/models/{CHAMPION}").json()["adapter_id"] == adapters.second.adapter_id
    )
    assert adapters.second.adapter_id in engine.loaded and not engine.requests


def test_nobody_waits_for_a_database_that_hangs(app, experiments, monkeypatch):
    """It neither answers nor fails; known names and experiments go on, and it is told."""
    from fastapi.testclient import TestClient

    for where in ("catalogue.catalogue.LOOK_SECONDS", "http.db_executor.PATIENCE_SECONDS"):
        monkeypatch.setattr(f"serve.{where}", 0.2)
    awake = threading.Event()
    arms = [VariantSpec(name="a", model="base"), VariantSpec(name="b", model="arithmetic/sft:2")]
    experiments.start("trial", arms, "a", 100)

    def hung(work: Callable[..., Any]) -> Callable[..., Any]:
        def waits(*arguments: Any) -> Any:
            assert awake.wait(120)
            return work(*arguments)

        return waits

    with TestClient(app, raise_server_exceptions=False) as api:
        with monkeypatch.context() as patch:
            patch.setattr(SnapshotSource, "read", hung(SnapshotSource.read))
            patch.setattr(experiments, "record_exposures", hung(experiments.record_exposures))
            patch.setattr(experiments, "record_feedback", hung(experiments.record_feedback))
            try:
                answers = [ask(api, model="trial", user=f"user {one}") for one in range(50)]
                trouble = wait_until(lambda: api.get("/readyz").json().get("database"))
                assert "has not answered" in trouble
                assert ask(api, model=CHAMPION).status_code == 200
                assert ask(api, model="nobody/sft:1").status_code == 503
                rating = {"request_id": answers[0].json()["id"], "value": 1}
                assert api.post("/v1/feedback", json=rating).status_code == 503
            finally:
                awake.set()
        assert {one.status_code for one in answers} == {200}
        wait_until(lambda: "database" not in api.get("/readyz").json())
        for one in answers:
            rating = {"request_id": one.json()["id"], "value": 1}
            rated = wait_until(
                lambda one=rating: (it := api.post("/v1/feedback", json=one)).is_success and it
            )
            assert rated.json()["experiment"] == "trial"


def test_champions_and_running_experiments_are_loaded_ahead_and_kept(
    api, adapters, experiments, engine
):
    wait_until(lambda: engine.loaded == engine.kept == {adapters.first.adapter_id})
    arms = [VariantSpec(name="a", model="base"), VariantSpec(name="b", model="arithmetic/sft:2")]
    experiments.start("trial", arms, "a", 100)
    both = {adapters.first.adapter_id, adapters.second.adapter_id}
    wait_until(lambda: engine.loaded == engine.kept == both)
    experiments.stop("trial")
    wait_until(lambda: engine.kept == {adapters.first.adapter_id})


def test_a_version_can_be_asked_for_the_moment_it_is_registered(api, adapters, tmp_path):
    made = adapters.registry.register("young/sft", make_adapter(tmp_path / "young", "young"))
    assert who(api, "young/sft:1") == made.adapter_id


def test_an_experiment_can_be_asked_for_the_moment_it_starts(api, experiments):
    arms = [VariantSpec(name="a", model="base"), VariantSpec(name="b", model="arithmetic/sft")]
    experiments.start("trial", arms, "a", 100)
    assert ask(api, model="trial").status_code == 200


class Slow:
    """A source whose looks are let through one by one."""

    def __init__(self) -> None:
        self.looks = 0
        self.open = threading.Semaphore(0)

    def read(self, known: Snapshot) -> Snapshot:
        self.looks += 1
        mark = ((self.looks, 0),)
        assert self.open.acquire(timeout=120)
        return replace(known, mark=mark)


def test_one_that_leaves_does_not_take_the_look_of_others_with_it():
    source = Slow()
    catalogue = Catalogue(source, "base", engine=None)  # type: ignore[arg-type]

    async def go() -> int:
        leaves, stays = (asyncio.create_task(catalogue.refresh()) for _ in range(2))
        await await_until(lambda: source.looks, "a look at the database")
        leaves.cancel()
        late = asyncio.create_task(catalogue.refresh())
        source.open.release(10)
        await asyncio.gather(stays, late)
        return catalogue.now.mark[0][0]

    assert asyncio.run(go()) >= 2


def test_who_comes_while_a_look_is_under_way_gets_one_that_began_later():
    source = Slow()
    catalogue = Catalogue(source, "base", engine=None)  # type: ignore[arg-type]

    async def go() -> tuple[int, int]:
        first = asyncio.create_task(catalogue.refresh())
        await await_until(lambda: source.looks, "a look at the database")
        others = [asyncio.create_task(catalogue.refresh()) for _ in range(5)]
        source.open.release(10)
        await asyncio.gather(first, *others)
        return source.looks, catalogue.now.mark[0][0]

    assert asyncio.run(go()) == (2, 2)


class Deaf:
    """An engine that cannot be told anything."""

    async def keep(self, _adapters: Any) -> None:
        raise ConnectionError("no replica")


def test_what_nobody_waits_for_is_logged_when_it_fails(monkeypatch, serve_log):
    """Else asyncio prints a traceback whenever it happens to collect the task."""
    monkeypatch.setattr("serve.catalogue.catalogue.PERIOD_SECONDS", 0.0)
    monkeypatch.setattr("serve.catalogue.catalogue.LOOK_SECONDS", 0.0)
    source = Slow()
    source.open.release(1000)
    catalogue = Catalogue(source, "base", engine=Deaf())  # type: ignore[arg-type]
    overdue = threading.Event()

    async def go() -> None:
        await catalogue.start()
        await _logged("no replica", serve_log)
        source.read = lambda known: overdue.wait(60) and 1 / 0  # type: ignore[assignment]
        await catalogue.refresh()
        assert catalogue.trouble is not None
        overdue.set()
        await _logged("division by zero", serve_log)
        await catalogue.close()

    asyncio.run(go())
    gc.collect()
    assert "never retrieved" not in serve_log.text


async def _logged(text: str, log: pytest.LogCaptureFixture) -> None:
    await await_until(lambda: text in log.text, f"{text!r} in the log")


@pytest.fixture
def away(database, monkeypatch) -> Callable[[], Callable[[], None]]:
    """Takes the database away; what it returns brings it back."""

    def take() -> Callable[[], None]:
        def session(*_: Any, **__: Any) -> Any:
            raise DatabaseError("database gone: connection refused")

        monkeypatch.setattr(database, "session", session)
        return monkeypatch.undo

    return take


def test_known_names_go_on_while_the_database_is_away(api, adapters, experiments, away):
    arms = [VariantSpec(name="a", model="base"), VariantSpec(name="b", model="arithmetic/sft")]
    experiments.start("trial", arms, "a", 100)
    assert ask(api, model="trial", user="ada").status_code == 200
    back = away()
    wait_until(lambda: "connection refused" in api.get("/readyz").json().get("database", ""))
    assert api.get("/readyz").status_code == 200
    for model in ("base", "arithmetic/sft", "arithmetic/sft:2", CHAMPION):
        assert ask(api, model=model).status_code == 200
    assert len(api.get("/v1/models").json()["data"]) == 6
    answers = [ask(api, model="trial", user=f"user-{number}") for number in range(5)]
    assert {one.status_code for one in answers} == {200}
    unknown = ask(api, model="nobody/sft")
    assert unknown.status_code == 503 and "database" in unknown.json()["error"]["message"]
    rating = {"request_id": answers[0].json()["id"], "value": 1}
    assert api.post("/v1/feedback", json=rating).status_code == 503
    back()
    wait_until(lambda: "database" not in api.get("/readyz").json())
    assert api.post("/v1/feedback", json=rating).status_code == 200
    report = experiments.report("trial")
    assert sum(one.answers for one in report.variants) == 6  # none was lost
