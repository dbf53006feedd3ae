"""What the tables take, refuse and fill in, on each kind of database."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

from cluster.database import Database
from cluster.database.tables import Launch, Sweep, TableBase, Variant


def test_tables_compile_for_postgresql() -> None:
    for table in TableBase.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))


def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(Variant(experiment="nobody", name="a", model="base"))


def test_a_sweep_names_a_launch_that_there_is(database: Database) -> None:
    with database.session() as session:
        launch = Launch(name="toy", recipe={}, stages=["sft"], options={})
        session.add(launch)
    kept = {"line": "toy/sft", "digest": "0" * 64, "recipe": {}, "stage": "sft"}
    with database.session() as session:
        session.add(Sweep(run=1, study="a", launch_id=launch.id, unseen=None, **kept))
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(Sweep(run=2, study="b", launch_id=launch.id + 1, **kept))
    with database.session(write=False) as session:
        read = session.get_one(Launch, launch.id)
        assert session.scalar(select(func.count()).where(Sweep.unseen.is_(None))) == 1
    assert (read.state, read.stages, read.request, read.beat_at) == ("running", ["sft"], "", None)
