"""Checks what a worker's machine reaches. Runs on that machine, and imports little for speed."""

from __future__ import annotations

import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from align.errors import AligneryError
from cluster.settings import Settings
from cluster.storage import Storage

#: The module that workers import to run trials.
_NEEDED = "sweeps.pool.trainable"


@dataclass(frozen=True)
class Probe:
    """What to check: settings, a nonce that the driver wrote, and a base's folder."""

    settings: dict[str, str | None]
    nonce: str
    base: str | None = None


def find_fault(probe: Probe) -> str:
    """What is out of reach on this machine, as a message; empty if nothing."""
    settings = Settings(**probe.settings)
    try:
        fault = (
            _home_fault(settings)
            or _database_fault(settings, probe.nonce)
            or _storage_fault(settings, probe.nonce)
            or _base_fault(probe.base)
        )
    except AligneryError as error:
        return f"cannot work: {error}"
    import_module(_NEEDED)
    return fault


def nonce_key(nonce: str) -> str:
    """The storage key under which the driver wrote the nonce."""
    return f"checks/{nonce}"


def lock_number(nonce: str) -> int:
    """The nonce as the number of a PostgreSQL advisory lock: 60 of its 64 bits."""
    return int(nonce[:15], 16)


def _home_fault(settings: Settings) -> str:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=settings.home):
            return ""
    except OSError as error:
        return (
            f"cannot write the home folder {settings.home} ({error.strerror}); set ALIGNERY_HOME "
            "to a folder that every machine can make, such as /tmp/alignery"
        )


def _database_fault(settings: Settings, nonce: str) -> str:
    if (file := settings.database_file) is not None:
        if (file.parent / "locks" / f"{nonce}.nonce").is_file() and file.is_file():
            return ""
        return (
            f"cannot see the database {file}: a SQLite file lies on one machine; set "
            "ALIGNERY_DATABASE_URL to a PostgreSQL database that all machines reach"
        )
    from sqlalchemy import make_url, text

    from cluster.database.connection import make_engine

    url = make_url(settings.database_url)
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            key = {"key": lock_number(nonce)}
            wrong_database = connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), key)
    except Exception as error:  # of many classes; each means that the database is out of reach
        cause = " ".join(str(getattr(error, "orig", None) or error).split())
        wrong_database, detail = True, f": {cause.replace(str(url.password), '***')}"
    else:
        detail = ": another one answers there"
    finally:
        engine.dispose()
    if not wrong_database:
        return ""
    safe_url = url.render_as_string(hide_password=True)
    return (
        f"do not reach the database {safe_url}{detail}; give ALIGNERY_DATABASE_URL a host that all "
        "machines know, and let the server listen to them"
    )


def _storage_fault(settings: Settings, nonce: str) -> str:
    storage, copy_key = Storage(settings), f"{nonce_key(nonce)}-{uuid.uuid4().hex}"
    if not storage.exists(nonce_key(nonce)):
        is_folder = "://" not in settings.storage
        detail = "a folder lies on one machine; " if is_folder else ""
        return (
            f"do not see in storage {settings.storage} what this machine wrote: {detail}set "
            "ALIGNERY_STORAGE to a bucket (s3://… or gs://…) or a folder that all machines share"
        )
    try:
        storage.put_folder(storage.get_folder(nonce_key(nonce)), copy_key)
        storage.get_folder(copy_key)
    finally:
        with suppress(AligneryError):
            storage.delete(copy_key)
    return ""


def _base_fault(base: str | None) -> str:
    if base is None or (Path(base) / "config.json").is_file():
        return ""
    return (
        f"do not see the base {base}: a folder of this machine; put it where all machines have "
        "it under the same path, or name a model of the hub"
    )
