"""The names of an endpoint while the registry, the engine and the database change behind it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from serve_fakes import ask, make_adapter

from cluster.errors import DatabaseError
from serve.experiments import VariantSpec

CHAMPION = "arithmetic/sft@champion"


def soon(what: Callable[[], Any], seconds: float = 10) -> Any:
    """What it returns once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.02)
    return found


def who(api: Any, model: str = CHAMPION) -> str:
    response = ask(api, model=model)
    assert response.status_code == 200, response.text
    return str(response.json()["system_fingerprint"])


def test_a_promotion_and_a_rollback_are_followed(api, adapters):
    assert who(api) == adapters.first.adapter_id
    adapters.registry.promote("arithmetic/sft", 2)
    soon(lambda: who(api) == adapters.second.adapter_id)
    adapters.registry.rollback("arithmetic/sft")
    soon(lambda: who(api) == adapters.first.adapter_id)


def test_a_name_does_not_move_before_its_adapter_is_loaded(api, adapters, engine):
    engine.unloadable = {adapters.second.adapter_id}
    adapters.registry.promote("arithmetic/sft", 2)
    model = soon(
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
    soon(lambda: "moving_to" not in (api.get(f"/v1/models/{CHAMPION}").json()))
    soon(
        lambda: api.get(f"/v1/models/{CHAMPION}").json()["adapter_id"] == adapters.second.adapter_id
    )
    assert adapters.second.adapter_id in engine.loaded and not engine.requests


def test_champions_and_running_experiments_are_loaded_ahead_and_kept(
    api, adapters, experiments, engine
):
    soon(lambda: engine.loaded == engine.kept == {adapters.first.adapter_id})
    arms = [VariantSpec(name="a", model="base"), VariantSpec(name="b", model="arithmetic/sft:2")]
    experiments.start("trial", arms, "a", 100)
    both = {adapters.first.adapter_id, adapters.second.adapter_id}
    soon(lambda: engine.loaded == engine.kept == both)
    experiments.stop("trial")
    soon(lambda: engine.kept == {adapters.first.adapter_id})


def test_a_version_can_be_asked_for_the_moment_it_is_registered(api, adapters, tmp_path):
    made = adapters.registry.register("young/sft", make_adapter(tmp_path / "young", "young"))
    assert who(api, "young/sft:1") == made.adapter_id


def test_an_experiment_can_be_asked_for_the_moment_it_starts(api, experiments):
    arms = [VariantSpec(name="a", model="base"), VariantSpec(name="b", model="arithmetic/sft")]
    experiments.start("trial", arms, "a", 100)
    assert ask(api, model="trial").status_code == 200


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
    soon(lambda: "connection refused" in api.get("/readyz").json().get("database", ""))
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
    soon(lambda: "database" not in api.get("/readyz").json())
    assert api.post("/v1/feedback", json=rating).status_code == 200
    report = experiments.report("trial")
    assert sum(one.answers for one in report.variants) == 6  # none was lost
