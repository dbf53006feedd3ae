"""A lock per study, so that it has one driver: on one machine or, with PostgreSQL, a cluster."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from align.atomic_write import write_atomically
from cluster.database import Database
from cluster.settings import Settings
from sweeps.errors import SweepLocked

#: The name of the session that holds an advisory lock on a bigint (PostgreSQL's documentation of
#: `pg_locks`: its upper half is in `classid`, its lower half in `objid`). Empty for other roles.
_OWNER = """
SELECT activity.application_name
FROM pg_locks AS locks JOIN pg_stat_activity AS activity USING (pid)
WHERE locks.locktype = 'advisory' AND locks.granted AND locks.objsubid = 1
AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (locks.classid::bigint << 32 | locks.objid::bigint) = :key
"""


class StudyLock:
    """Held while a process drives a study; released when the process ends in any way.

    SQLite is used from one machine, so the lock is a file beside the database. With PostgreSQL
    drivers may run on different machines, so it is an advisory lock of a database session. Such a
    lock ends with the connection, so that a driver without network may lose it: see `check`.
    """

    def __init__(self, settings: Settings, database: Database, study: str) -> None:
        """Acquire the lock. SweepLocked if another process holds it."""
        self._study, self._database = study, database
        self._file: FileLock | None = None
        self._connection: Any = None
        self._lapsed = False  # its database session has ended, and no other has taken its place
        if settings.database_file is not None:
            self._lock_file(lock_folder(settings))
        else:
            self._lock_session()

    def check(self) -> None:
        """Take the lock again if its database session has ended.

        SweepLocked if another process has taken it meanwhile: this one must not write any more.
        """
        if self._connection is not None:
            try:
                self._connection.scalar(text("SELECT 1"))
            except SQLAlchemyError:
                self._connection.invalidate()
                self._connection, self._lapsed = None, True
        if self._lapsed:
            self._lock_session()
            self._lapsed = False

    def release(self) -> None:
        """Release the lock; may be called repeatedly."""
        if self._file is not None:
            self._file.release()
        if self._connection is not None:
            self._connection.close()
        self._file, self._connection, self._lapsed = None, None, False

    def _lock_file(self, folder: Path) -> None:
        path = folder / f"{self._study.replace('/', '.')}.lock"
        owner_file = path.with_suffix(".owner")
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            owner = (
                owner_file.read_text(encoding="utf-8")
                if owner_file.is_file()
                else "another process"
            )
            raise self._locked(owner) from None
        write_atomically(owner_file, _this_process())
        self._file = lock

    def _lock_session(self) -> None:
        key = int.from_bytes(hashlib.sha256(self._study.encode()).digest()[:8], signed=True)
        engine = self._database.engine
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # Detached from the pool, so that closing it ends the session, which releases the lock.
        connection.detach()
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}):
            owner = connection.scalar(text(_OWNER), {"key": key}) or "another process"
            connection.close()
            raise self._locked(owner)
        name = text("SELECT set_config('application_name', :owner, false)")
        connection.execute(name, {"owner": _this_process()})
        self._connection = connection

    def _locked(self, owner: str) -> SweepLocked:
        return SweepLocked(
            f"sweep {self._study} is already driven by {owner}; watch it with "
            f"`alignery sweep status {self._study.rpartition('/')[0]}`, wait until it ends, or "
            "stop it with Ctrl-C there and run this command again: it goes on where it stopped"
        )


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def lock_folder(settings: Settings) -> Path:
    """The folder of lock files: beside a SQLite file, so that all its users share the locks."""
    file = settings.database_file
    folder = (settings.home if file is None else file.parent) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
