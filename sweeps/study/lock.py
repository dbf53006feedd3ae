"""One driver for each study, on one machine or, with PostgreSQL, on a whole cluster."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import make_url, text

from cluster.database import Database
from cluster.settings import Settings
from sweeps.errors import SweepLocked


class StudyLock:
    """Held for as long as a process drives a study; ends with the process, however it ends.

    SQLite lives on one machine, so a lock file beside the database is enough. On PostgreSQL it
    is a session's advisory lock, since drivers may sit on different machines.
    """

    def __init__(self, settings: Settings, database: Database, study: str) -> None:
        """Take the lock. SweepLocked if another process has it."""
        self._study = study
        self._file: FileLock | None = None
        self._connection: Any = None
        url = make_url(settings.database_url)
        if url.get_backend_name() == "sqlite":
            self._lock_file(lock_folder(settings))
        else:
            self._lock_session(database)

    def release(self) -> None:
        """Give the lock back; harmless when repeated."""
        if self._file is not None:
            self._file.release()
        if self._connection is not None:
            self._connection.close()
        self._file = self._connection = None

    def _lock_file(self, folder: Path) -> None:
        path = folder / f"{self._study.replace('/', '.')}.lock"
        owner = path.with_suffix(".owner")
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            who = owner.read_text(encoding="utf-8") if owner.is_file() else "another process"
            raise self._locked(who) from None
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        self._file = lock

    def _lock_session(self, database: Database) -> None:
        key = int.from_bytes(hashlib.sha256(self._study.encode()).digest()[:8], signed=True)
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # Invalidated rather than returned to the pool: the lock is the session's.
        connection.detach()
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}):
            connection.close()
            raise self._locked("another process")
        self._connection = connection

    def _locked(self, who: str) -> SweepLocked:
        return SweepLocked(
            f"sweep {self._study} is already driven by {who}; watch it with "
            f"`alignery sweep status {self._study.rpartition('/')[0]}`, wait until it ends, or "
            "stop it with Ctrl-C there and run this command again: it goes on where it stopped"
        )


def lock_folder(settings: Settings) -> Path:
    """The folder of lock files: beside a SQLite file, so that all who share one see the other."""
    url = make_url(settings.database_url)
    sqlite = url.get_backend_name() == "sqlite"
    folder = (Path(str(url.database)).parent if sqlite else settings.home) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
