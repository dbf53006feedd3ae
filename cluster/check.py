"""Checks that actually use everything that the settings name."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from align.errors import AligneryError
from cluster.settings import Settings


@dataclass(frozen=True)
class Check:
    """The result of a check."""

    name: str
    ok: bool
    detail: str


def check_all(settings: Settings) -> list[Check]:
    """Try home, database, storage and Ray in this order; a failure does not stop the other checks.

    Creates the home folder and the database's tables where they are missing, and starts a local
    Ray for a moment where no address is set.
    """
    checks: dict[str, Callable[[Settings], str]] = {
        "home": _home,
        "database": _database,
        "storage": _storage,
        "ray": _ray,
    }
    return [_tried(name, check, settings) for name, check in checks.items()]


def _tried(name: str, check: Callable[[Settings], str], settings: Settings) -> Check:
    try:
        return Check(name, True, check(settings))
    except (AligneryError, OSError) as error:
        return Check(name, False, str(error))


def _home(settings: Settings) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.home, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(f"{settings.home} cannot be written; set ALIGNERY_HOME elsewhere")
    return str(settings.home)


def _database(settings: Settings) -> str:
    from sqlalchemy import text

    from cluster.database import open_database

    database = open_database(settings)
    try:
        with database.session() as session:  # takes the write lock
            session.execute(text("SELECT 1"))
    finally:
        database.close()
    return settings.database_name


def _storage(settings: Settings) -> str:
    from cluster.storage import Storage

    storage, key = Storage(settings), f"checks/{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "probe").write_text("alignery cluster check", encoding="utf-8")
        storage.put_folder(folder, key)
    try:
        (storage.get_folder(key) / "probe").read_text(encoding="utf-8")
    finally:
        storage.delete(key)
    return settings.storage


def _ray(settings: Settings) -> str:
    from cluster.ray import ray_session

    with ray_session(settings) as address:
        import ray

        total = ray.cluster_resources()
    place = f"at {address}" if settings.ray_address else "local, started and stopped"
    return f"{place}: {total.get('CPU', 0):g} CPU, {total.get('GPU', 0):g} GPU"
