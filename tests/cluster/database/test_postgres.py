"""A PostgreSQL server that is silent for too long is given up, unless the block is patient."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from cluster.database import Database, open_database
from cluster.database.postgres import ANSWER_SECONDS, PatientConnection, patient
from cluster.errors import DatabaseError
from cluster.settings import Settings
from tests.conftest import POSTGRES, fresh_postgres


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database whose server may be silent for a second."""
    if POSTGRES not in os.environ:
        pytest.skip(f"set {POSTGRES}=postgresql://user@host/database to test PostgreSQL too")
    with fresh_postgres(os.environ[POSTGRES]) as url:
        opened = open_database(Settings(database_url=url))
        opened.close()  # what follows connects anew
        monkeypatch.setattr(PatientConnection, "answer_seconds", 1.0)
        yield opened
        opened.close()


def test_a_silent_server_is_lost_and_the_next_statement_gets_another_connection(
    database: Database,
) -> None:
    started = time.monotonic()
    with (
        pytest.raises(DatabaseError, match=r"no answer for 1 s"),
        database.session(write=False) as session,
    ):
        session.execute(text("SELECT pg_sleep(20)"))
    assert 1 <= time.monotonic() - started < 10
    with database.session(write=False) as session:
        assert session.scalar(text("SELECT 7")) == 7


def test_statements_of_a_patient_block_may_take_longer(database: Database) -> None:
    with database.engine.connect() as connection:
        with patient(connection, 20):
            connection.execute(text("SELECT pg_sleep(2.5)"))
        assert connection.connection.driver_connection.answer_seconds == ANSWER_SECONDS
