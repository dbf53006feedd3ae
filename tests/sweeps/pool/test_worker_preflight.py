"""What workers on other machines must reach, and the files that travel to them."""

import os
import uuid
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from align.recipe import load_recipe, parse_recipe
from align.recipe.show import to_yaml
from cluster.settings import Settings
from cluster.storage import Storage
from sweeps.errors import SweepError
from sweeps.pool import worker_preflight
from sweeps.pool.placement import make_placement
from sweeps.pool.shipping import localise, ship_data
from sweeps.pool.stage_job import portable
from sweeps.pool.worker_preflight import check_workers
from sweeps.pool.worker_probe import Probe, find_fault
from tests.sweeps.toy_recipe import RECIPE

POSTGRES = "ALIGNERY_TEST_POSTGRES_URL"


def fault(settings, nonce, **more):
    return find_fault(Probe(portable(settings), nonce, **more))


def test_a_machine_that_sees_all_of_it_has_no_fault(settings):
    with worker_preflight._written(settings) as nonce:
        assert fault(settings, nonce) == ""
    assert Storage(settings).keys("checks") == []  # nothing is left


def test_another_machine_does_not_see_a_sqlite_file(settings, tmp_path):
    with worker_preflight._written(settings) as nonce:
        there = Settings(
            home=settings.home,
            storage=settings.storage,
            database_url=f"sqlite:///{tmp_path}/there/alignery.db",
        )
        told = fault(there, nonce)
    assert "cannot see the database" in told and "ALIGNERY_DATABASE_URL to a PostgreSQL" in told
    assert not (tmp_path / "there").exists()  # looking makes no empty database


def test_another_machine_does_not_see_a_storage_folder(settings, tmp_path):
    with worker_preflight._written(settings) as nonce:
        there = Settings(
            home=settings.home,
            storage=str(tmp_path / "there"),
            database_url=settings.database_url,
        )
        told = fault(there, nonce)
    assert "ALIGNERY_STORAGE to a bucket" in told and str(tmp_path / "there") in told


def test_another_machine_does_not_see_a_base_or_cannot_make_the_home(settings, tmp_path):
    (tmp_path / "file").touch()
    with worker_preflight._written(settings) as nonce:
        assert "do not see the base /models/mine" in fault(settings, nonce, base="/models/mine")
        raw = {**portable(settings), "home": str(tmp_path / "file" / "home")}
        assert "ALIGNERY_HOME" in find_fault(Probe(raw, nonce))


@contextmanager
def fresh_database():
    url = make_url(Settings(database_url=os.environ[POSTGRES]).database_url)
    server, name = (
        create_engine(url, isolation_level="AUTOCOMMIT"),
        f"reach_{uuid.uuid4().hex[:12]}",
    )
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


@pytest.mark.skipif(POSTGRES not in os.environ, reason=f"{POSTGRES} names no PostgreSQL server")
def test_two_postgresql_databases_are_told_apart(settings):
    with fresh_database() as here, fresh_database() as other:
        mine = Settings(home=settings.home, database_url=here)
        with worker_preflight._written(mine) as nonce:
            assert fault(mine, nonce) == ""
            told = fault(Settings(home=settings.home, database_url=other), nonce)
            assert "do not reach the database" in told and "another one answers there" in told
            gone = make_url(here).set(port=1, password="secret").render_as_string(False)
            told = fault(Settings(home=settings.home, database_url=gone), nonce)
            assert "do not reach the database" in told and "secret" not in told


def test_every_node_is_asked_before_the_first_trial(local_ray, settings, recipe, monkeypatch):
    placement = make_placement(settings, recipe, ["sft"])
    check_workers(settings, placement, recipe)  # local: nothing is asked
    joined = Settings(ray_address=local_ray)
    monkeypatch.setattr(worker_preflight, "_answers", lambda *_: pytest.fail("asked"))
    check_workers(joined, placement, recipe)  # this machine: nor here
    monkeypatch.undo()
    monkeypatch.setattr(worker_preflight, "_here", lambda node: False)
    check_workers(joined, placement, recipe)
    monkeypatch.setattr(worker_preflight, "_marked", lambda *_: nullcontext())
    with pytest.raises(SweepError, match=r"^workers on \S+ cannot see the database .*PostgreSQL"):
        check_workers(joined, placement, recipe)


def own_data(folder):
    """A recipe with a file and a reward function of a person's own."""
    (folder / "rows.jsonl").write_text('{"prompt": "1+1", "completion": "2"}\n')
    (folder / "mine.py").write_text(
        "from helper import one\n\ndef score(completion):\n    return one\n"
    )
    (folder / "helper.py").write_text("one = 1.0\n")
    stages = {name: dict(stage) for name, stage in RECIPE["stages"].items()}
    stages["grpo"]["rewards"] = {"correctness": 1.0, "mine": {"weight": 1, "python": "mine:score"}}
    return parse_recipe({**RECIPE, "data": {"path": "rows.jsonl"}, "stages": stages}, folder=folder)


def test_files_travel_through_storage_by_their_content(settings, tmp_path):
    recipe = own_data(tmp_path)
    shipped = ship_data(settings, recipe, code=True)
    assert shipped.data.path.startswith("alignery://datasets/")
    assert shipped.stages["grpo"].rewards["mine"].folder.startswith("alignery://code/")
    assert ship_data(settings, shipped, code=True) == shipped
    assert recipe.data.path == str(tmp_path / "rows.jsonl")  # unchanged
    for name in ("rows.jsonl", "mine.py", "helper.py"):
        (tmp_path / name).unlink()
    here = localise(shipped, Storage(settings))
    assert Path(here.data.path).read_text() == '{"prompt": "1+1", "completion": "2"}\n'
    from align.rewards.functions import Function

    assert Function("mine", here.stages["grpo"].rewards["mine"])([], "2", {}) == 1.0
    assert localise(recipe, Storage(settings)) == recipe


def test_a_shipped_recipe_can_be_written_and_read(settings, tmp_path):
    shipped = ship_data(settings, own_data(tmp_path), code=True)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "recipe.yaml").write_text(to_yaml(shipped))
    read = load_recipe(tmp_path / "there" / "recipe.yaml")
    assert localise(read, Storage(settings)) == localise(shipped, Storage(settings))
    assert ship_data(settings, read, code=True) == shipped


def test_a_file_that_only_other_machines_have_stays_as_it_is(settings, tmp_path):
    recipe = own_data(tmp_path)
    (tmp_path / "rows.jsonl").unlink()
    assert ship_data(settings, recipe) == recipe
