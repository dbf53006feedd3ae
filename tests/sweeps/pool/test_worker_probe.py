"""What a worker on another machine does not see."""

import os
import uuid
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, make_url, text

from cluster.settings import Settings
from cluster.storage import Storage
from sweeps.pool import worker_preflight
from sweeps.pool.stage_job import portable
from sweeps.pool.worker_probe import Probe, find_fault

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
