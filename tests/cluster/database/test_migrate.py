"""Migrations: they give the tables that the code declares, and lose no rows."""

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, select, text

from cluster.database import Database, open_database
from cluster.database.migrate import MIGRATIONS, differences
from cluster.database.tables import Sweep
from cluster.errors import DatabaseError
from cluster.settings import Settings

OLD_SWEEP = """
INSERT INTO sweeps (line, run, study, digest, recipe, stage, state, seconds, created_at)
VALUES ('toy/sft', 1, 'toy/sft/1', 'abc', '{}', 'sft', 'finished', 1.5, '2026-11-01 10:00:00')
"""


def test_migrations_give_exactly_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        assert differences(connection) == []


def test_a_forgotten_migration_is_seen(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE sweeps DROP COLUMN seconds"))
    with database.engine.connect() as connection:
        assert "add_column" in str(differences(connection))


def test_tables_of_others_are_let_alone(settings: Settings) -> None:
    database = open_database(settings)
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("CREATE TABLE studies (study_id INTEGER)"))
    database.close()
    again = open_database(settings)
    with again.engine.connect() as connection:
        assert differences(connection) == []
        assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 0
        assert connection.scalar(text("SELECT version_num FROM alignery_version")) is not None
    again.close()


def test_tables_of_a_newer_version(settings: Settings) -> None:
    open_database(settings).close()
    engine = create_engine(settings.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alignery_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(DatabaseError, match=r"9999.*install the newest"):
        open_database(settings)


def test_rows_of_the_first_tables_survive_the_next_migration(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        connection.execute(text(OLD_SWEEP))
        connection.commit()
        command.upgrade(config, "head")
        connection.commit()
        assert differences(connection) == []
    with database.session(write=False) as session:
        (row,) = session.scalars(select(Sweep)).all()
    assert (row.line, row.launch_id, row.request, row.unseen) == ("toy/sft", None, "", None)
