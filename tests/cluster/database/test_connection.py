"""Opening the database, and what its sessions promise to several readers and writers."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from cluster.database import Database, open_database
from cluster.database.tables import Alias, Experiment
from cluster.errors import DatabaseError
from cluster.settings import Settings
from tests.odd_names import ODD_NAMES
from tests.umasks import RIGHTS, modes, umask

OPEN = "from cluster.database import open_database as o; from cluster.settings import Settings as S"


def test_a_session_commits_or_rolls_back(database: Database) -> None:
    with database.session() as session:
        session.add(Experiment(name="kept", planned_users=10))
    with pytest.raises(ZeroDivisionError), database.session() as session:
        session.add(Experiment(name="lost", planned_users=10))
        session.flush()
        _ = 1 / 0
    with database.session(write=False) as session:
        (kept,) = session.scalars(select(Experiment)).all()
    assert kept.name == "kept"
    assert kept.created_at.utcoffset() is not None and kept.created_at.utcoffset().seconds == 0


def test_a_writer_that_reads_first_loses_no_update(database: Database) -> None:
    with database.session() as session:
        session.add(Experiment(name="counter", planned_users=0))

    def count() -> None:
        for _ in range(5):
            with database.session() as session:
                row = session.scalar(select(Experiment).with_for_update())
                assert row is not None
                row.planned_users += 1

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.session(write=False) as session:
        assert session.scalar(select(Experiment.planned_users)) == 30


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.session() as writer:
        writer.add(Experiment(name="open", planned_users=1))
        writer.flush()
        with database.session(write=False) as reader:
            assert reader.scalar(select(func.count()).select_from(Experiment)) == 0


def test_processes_that_start_at_once_on_an_empty_home_do_not_collide(settings: Settings) -> None:
    script = f"{OPEN}; d=o(S()); s=d.session(); s.__enter__(); print('ready')"
    environment = {
        "ALIGNERY_HOME": str(settings.home),
        "ALIGNERY_DATABASE_URL": settings.database_url,
    }
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in starters:
        out, error = process.communicate(timeout=300)
        assert (process.returncode, out) == (0, "ready\n"), error


def test_sqlite_is_set_up_for_several_processes(home: Path) -> None:
    database = open_database(Settings())
    with database.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA busy_timeout")) >= 10_000
    database.close()
    assert (home / "alignery.db").is_file()


def test_each_home_has_a_database_of_its_own_whatever_its_name(tmp_path: Path) -> None:
    for name in ODD_NAMES:
        database = open_database(Settings(home=tmp_path / name))
        with database.session() as session:
            session.add(Experiment(name=name, planned_users=1))
        database.close()
    for name in ODD_NAMES:
        assert (tmp_path / name / "alignery.db").is_file()
        database = open_database(Settings(home=tmp_path / name))
        with database.session(write=False) as session:
            assert session.scalars(select(Experiment.name)).all() == [name]
        database.close()
    assert {path.name for path in tmp_path.iterdir()} == set(ODD_NAMES)


def test_a_path_that_is_too_long_for_sqlite_says_so(tmp_path: Path) -> None:
    home = tmp_path / ("a" * 200) / ("b" * 200) / ("c" * 200)
    with pytest.raises(DatabaseError, match="at most 504 bytes: choose a shorter home"):
        open_database(Settings(home=home))


def test_a_file_that_is_no_database(home: Path) -> None:
    home.mkdir()
    (home / "alignery.db").write_text("these are not the tables you are looking for" * 50)
    with pytest.raises(DatabaseError, match=r"alignery\.db.*not a database"):
        open_database(Settings())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="check that the folder is writable"):
        open_database(Settings(database_url=f"sqlite:///{tmp_path}/file/alignery.db"))


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    settings = Settings(database_url="postgresql://me:sesame@127.0.0.1:1/alignery")
    with pytest.raises(DatabaseError) as caught:
        open_database(settings)
    assert "sesame" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value) or "alignery[postgres]" in str(caught.value)


def test_a_lost_table_is_one_clear_error(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("DROP TABLE aliases"))
    with pytest.raises(DatabaseError, match="aliases"), database.session(write=False) as session:
        session.scalars(select(Alias)).all()


@pytest.mark.parametrize("value", RIGHTS)
def test_a_database_has_the_rights_of_the_umask(value: int, home: Path) -> None:
    with umask(value):
        database = open_database(Settings())
        with database.session(write=False) as session:
            session.scalars(select(Alias)).all()
            found = modes(home)
        database.close()
    file_mode, folder_mode = RIGHTS[value]
    assert found.pop(".") == folder_mode
    assert {"alignery.db", "alignery.db-wal"} < set(found) and set(found.values()) == {file_mode}
