"""Opening the database, on SQLite or PostgreSQL, with its tables at the newest migration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import DatabaseError as DriverError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from cluster.database.migrate import MIGRATION_SECONDS, migrate
from cluster.errors import DatabaseError
from cluster.settings import Settings

#: Seconds that a writer waits for another writer.
BUSY_SECONDS = 30
CONNECT_SECONDS = 10

#: Bytes of a database's path: SQLite's MAX_PATHNAME, less the suffix `-journal`.
_LONGEST_SQLITE = 504

_READ = "alignery_read"


class Database:
    """Sessions on one database. Safe to share between threads; open it again in each process."""

    def __init__(self, url: str, engine: Engine) -> None:
        self.url = url
        self.engine = engine
        self._reader = engine.execution_options(**{_READ: True})

    @contextmanager
    def session(self, write: bool = True) -> Iterator[Session]:
        """A session that commits at the end and rolls back on an error.

        On SQLite a writing session holds the write lock from its first statement on, so the rows
        that it read cannot change before it commits. `write=False` never waits for writers and
        commits nothing. DatabaseError if the database is lost or stays locked.
        """
        with Session(self.engine if write else self._reader, expire_on_commit=False) as session:
            try:
                yield session
                if write:
                    session.commit()
            except (IntegrityError, DataError):
                raise  # the written values are at fault, not the database
            except (DBAPIError, PoolTimeout) as error:
                raise _unreachable(make_url(self.url), error) from error

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


def open_database(settings: Settings) -> Database:
    """Connect and migrate to the newest tables; creates a SQLite file and its folder.

    Processes that start at once on an empty home wait for each other. DatabaseError says what to
    check; it never shows a password.
    """
    try:
        url = make_url(settings.database_url)
    except ArgumentError:
        raise DatabaseError(
            "ALIGNERY_DATABASE_URL is no database URL; "
            "expected e.g. postgresql://user:password@host:5432/alignery"
        ) from None
    engine: Engine | None = None
    try:
        with _one_at_a_time(url):
            _create_file(url)
            engine = make_engine(url)
            with engine.connect() as connection:
                migrate(connection)
    except BaseException as error:
        if engine is not None:
            engine.dispose()
        if isinstance(error, DriverError | OSError):
            raise _unreachable(url, error) from error
        raise
    return Database(settings.database_url, engine)


@contextmanager
def _one_at_a_time(url: URL) -> Iterator[None]:
    """Hold the SQLite file's lock; PostgreSQL has its own, taken by the migration."""
    if url.get_backend_name() != "sqlite":
        yield
        return
    path = Path(str(url.database))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_name(path.name + ".lock"), timeout=MIGRATION_SECONDS):
            yield
    except Timeout:
        raise DatabaseError(
            f"{path}: another process has been migrating for {MIGRATION_SECONDS} s; "
            "end it, or wait and try again"
        ) from None


def _create_file(url: URL) -> None:
    """Create a SQLite file with the rights of the umask; SQLite itself never lets a group write."""
    if url.get_backend_name() == "sqlite":
        with suppress(FileExistsError):
            Path(str(url.database)).touch(exist_ok=False)


def make_engine(url: URL) -> Engine:
    """An engine for `url`, configured as sessions need it; opens no connection yet."""
    if url.get_backend_name() != "sqlite":
        try:
            timeouts = {
                "connect_timeout": CONNECT_SECONDS,
                "tcp_user_timeout": 1000 * CONNECT_SECONDS,  # ms; notices a vanished server
            }
            engine = create_engine(url, pool_pre_ping=True, connect_args=timeouts)
        except ImportError:
            raise DatabaseError(
                "PostgreSQL needs its driver: pip install 'alignery[postgres]'"
            ) from None
        event.listen(engine, "do_connect", _connect_postgres)
        return engine
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connect_postgres(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
    from cluster.database.postgres import PatientConnection

    return PatientConnection.connect(*arguments, **options)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would begin a transaction only at its first write, so that another writer could
    # commit between its reads and writes. None disables that; _begin_sqlite begins instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get(_READ, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _unreachable(url: URL, error: Exception) -> DatabaseError:
    cause = " ".join(str(getattr(error, "orig", None) or error).split())
    if url.password:
        cause = cause.replace(str(url.password), "***")
    if url.get_backend_name() != "sqlite":
        shown = url.render_as_string(hide_password=True)
        advice = "check that the server runs, and host, port, user, password and database name"
    elif len(os.fsencode(shown := str(url.database))) > _LONGEST_SQLITE:
        advice = f"SQLite takes paths of at most {_LONGEST_SQLITE} bytes: choose a shorter home"
    else:
        advice = "check that the folder is writable, not full, and the file is Alignery's"
    return DatabaseError(f"database {shown}: {cause}; {advice} (ALIGNERY_DATABASE_URL)")
